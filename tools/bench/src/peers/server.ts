import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Runner } from '../peer.ts';

/** A program in a process of its own that answers one line of JSON with one line of JSON. */
export interface Server {
  /** The line that it prints when it is ready; null when it ended before. */
  readonly hello: Record<string, unknown> | null;
  /** @throws Error when it answers with an error, or ends */
  ask(message: object): Promise<Record<string, unknown>>;
  stop(): void;
}

export async function startServer(command: string, args: readonly string[]): Promise<Server> {
  const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting: ((line: string | null) => void)[] = [];
  let over = false;
  const ended = () => {
    over = true;
    for (const resolve of waiting.splice(0)) resolve(null);
  };
  child.on('error', ended);
  child.on('exit', ended);
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => waiting.shift()?.(line));
  }
  const next = () => (over ? Promise.resolve(null) : new Promise<string | null>((resolve) => waiting.push(resolve)));
  const first = await next();
  return {
    hello: first === null ? null : JSON.parse(first),
    async ask(message) {
      const answer = next();
      child.stdin?.write(`${JSON.stringify(message)}\n`);
      const line = await answer;
      if (line === null) throw new Error(`${command} ended`);
      const reply = JSON.parse(line) as Record<string, unknown>;
      if (typeof reply.error === 'string') throw new Error(reply.error);
      return reply;
    },
    stop: () => {
      child.stdin?.end();
    },
  };
}

/** Prepares a case; the runner has it done there, and timed there. */
export async function remoteRunner(server: Server, task: object): Promise<Runner> {
  await server.ask({ command: 'prepare', ...task });
  return {
    run: async () => (await server.ask({ command: 'run' })).milliseconds as number,
    dispose: async () => {
      await server.ask({ command: 'dispose' });
    },
  };
}
