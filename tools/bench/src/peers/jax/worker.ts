import { resolveObjectURL } from 'node:buffer';
import { availableParallelism } from 'node:os';
import { Worker as NodeWorker } from 'node:worker_threads';

/** What a browser's worker script finds in its global scope. */
const SCOPE = `
const { parentPort } = require('node:worker_threads');
globalThis.self = globalThis;
globalThis.postMessage = (message) => parentPort.postMessage(message);
parentPort.on('message', (data) => self.onmessage({ data }));
`;

/** As much of a browser's `Worker` as jax-js calls: it starts scripts from blob: URLs. */
class BlobWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: { message: string }) => void) | null = null;
  readonly #started: Promise<NodeWorker>;

  constructor(url: string) {
    this.#started = this.#start(url);
  }

  async #start(url: string): Promise<NodeWorker> {
    const blob = resolveObjectURL(url);
    if (blob === undefined) throw new Error(`no blob at ${url}`);
    const worker = new NodeWorker(SCOPE + (await blob.text()), { eval: true });
    worker.on('message', (data) => this.onmessage?.({ data }));
    worker.on('error', ({ message }) => this.onerror?.({ message }));
    return worker;
  }

  postMessage(message: unknown): void {
    this.#started.then(
      (worker) => worker.postMessage(message),
      (error: Error) => this.onerror?.({ message: error.message }),
    );
  }
}

/** Gives jax-js what it looks for before it starts threads. @returns how many it will start */
export function provideWorkers(): number {
  const threads = availableParallelism();
  Object.assign(globalThis, { Worker: BlobWorker });
  Object.defineProperty(globalThis, 'navigator', {
    value: { hardwareConcurrency: threads, userAgent: 'node' },
    configurable: true,
  });
  return threads;
}
