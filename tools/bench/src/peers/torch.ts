import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { lazyTransformer } from '@lazy-attention/nn';
import type { Case } from '../cases.ts';
import type { Peer } from '../peer.ts';

const PROGRAM = fileURLToPath(new URL('../../src/peers/torch_peer.py', import.meta.url));

/**
 * PyTorch in a Python of its own (LAZY_ATTENTION_PYTHON, else python3), which torch_peer.py serves line by line. With
 * 'softmax' its attention is `scaled_dot_product_attention`, with 'lazy' the naive formula of SPEC.md.
 */
export function torchPeer(name: string, attention: 'softmax' | 'lazy'): Peer {
  let python: Python | null = null;
  return {
    name,
    async open() {
      python = await startPython();
      if (typeof python.about === 'string') return { about: python.about };
      return { absent: python.about.absent };
    },
    async prepare(task) {
      if (python === null) throw new Error('not open');
      const server = python;
      // Products do not depend on the kind of attention: one of the two peers does them.
      if (task.kind === 'matmul' && attention === 'lazy') return null;
      if (task.kind === 'decode') return null;
      await server.ask({ command: 'prepare', attention, ...described(task) });
      return {
        run: async () => (await server.ask({ command: 'run' })).milliseconds as number,
        dispose: async () => {
          await server.ask({ command: 'dispose' });
        },
      };
    },
    close: async () => python?.stop(),
  };
}

function described(task: Case): object {
  return task.kind === 'train' ? { ...task, model: lazyTransformer(task.model).config } : task;
}

interface Python {
  readonly about: string | { readonly absent: string };
  ask(message: object): Promise<Record<string, unknown>>;
  stop(): void;
}

async function startPython(): Promise<Python> {
  const command = process.env.LAZY_ATTENTION_PYTHON ?? 'python3';
  const child: ChildProcess = spawn(command, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting: ((line: string | null) => void)[] = [];
  const ended = () => {
    for (const resolve of waiting.splice(0)) resolve(null);
  };
  child.on('error', ended);
  child.on('exit', ended);
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.(line));
  }
  const next = () => new Promise<string | null>((resolve) => waiting.push(resolve));
  const first = await next();
  const hello = first === null ? { absent: `${command} cannot run torch_peer.py` } : JSON.parse(first);
  return {
    about: hello.absent === undefined ? `PyTorch ${hello.version}, ${hello.threads} threads` : { absent: hello.absent },
    async ask(message) {
      const answer = next();
      child.stdin?.write(`${JSON.stringify(message)}\n`);
      const line = await answer;
      if (line === null) throw new Error('the Python process ended');
      const reply = JSON.parse(line) as Record<string, unknown>;
      if (typeof reply.error === 'string') throw new Error(reply.error);
      return reply;
    },
    stop: () => {
      child.stdin?.end();
    },
  };
}
