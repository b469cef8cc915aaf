import { DataError } from './errors.ts';

/** Code units of text that a tokeniser gets at a time from a corpus. */
export const PIECE = 1 << 16;

/** Seconds for so much text, far above the one that the slowest takes: a pattern that backtracks takes for ever. */
const SECONDS = 10;

/** What `vm` runs, by the name that both know. */
const WORK = Symbol.for('lazy-attention.limited-work');

let script: { runInThisContext(options: { timeout: number }): unknown } | null | undefined;
let limited = false;

/**
 * Runs `work` on `length` code units of text, which waits for nothing, and stops it after ten seconds per `PIECE`. Calls
 * inside it are under the same limit. There is no such thing in browsers: there it runs without limit. `work` begins again, with
 * twice the time, where the process had less than half of its time on a processor: on a busy machine, or after it was stopped.
 * @throws DataError (TOKENIZER) when the time is over
 */
export function withTimeLimit<T>(name: string, length: number, work: () => T): T {
  script ??= limitedScript();
  if (script === null || limited) return work();
  const seconds = SECONDS * Math.max(1, Math.ceil(length / PIECE));
  const global = globalThis as { [WORK]?: () => unknown };
  global[WORK] = work;
  limited = true;
  try {
    return runFor(script, seconds) as T;
  } catch (cause) {
    if (!isTimeout(cause)) throw cause;
    throw new DataError(
      'TOKENIZER',
      `${name}: ${length} characters were not done after ${seconds} s; a pattern in its tokenizer.json may backtrack without end`,
      { cause },
    );
  } finally {
    limited = false;
    delete global[WORK];
  }
}

function runFor(limitedWork: { runInThisContext(options: { timeout: number }): unknown }, seconds: number): unknown {
  const began = process.cpuUsage();
  for (let patience = seconds; ; patience *= 2) {
    try {
      return limitedWork.runInThisContext({ timeout: patience * 1000 });
    } catch (cause) {
      const { user, system } = process.cpuUsage(began);
      if (!isTimeout(cause) || (user + system) / 1e6 >= seconds / 2) throw cause;
    }
  }
}

function isTimeout(cause: unknown): boolean {
  return (cause as NodeJS.ErrnoException | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
}

/** V8 stops a running regular expression too, but only for `vm`. Null outside Node. */
function limitedScript() {
  const vm = globalThis.process?.getBuiltinModule?.('node:vm');
  return vm === undefined ? null : new vm.Script(`globalThis[Symbol.for('lazy-attention.limited-work')]()`);
}
