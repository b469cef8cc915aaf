import { SingleBar } from 'cli-progress';
import { barLine } from './bar.ts';
import { duration } from './format.ts';

/** Progress of work whose amount is known, with the time that is left. */
export interface Progress {
  /** `done` of all are done. */
  update(done: number): void;
  stop(): void;
}

/** A bar on standard error where that is a terminal; elsewhere a line when it is done. Standard output stays for results. */
export function createProgress(what: string, total: number, done: number): Progress {
  if (process.stderr.isTTY !== true) {
    let last = done;
    return {
      update: (now) => {
        last = now;
      },
      stop: () => process.stderr.write(`${what}: ${last}/${total}\n`),
    };
  }
  const bar = new SingleBar({
    format: (_, { value, total: all, eta }) =>
      barLine(process.stderr.columns || 80, value, all, [what, `${duration(Number(eta))} left`]),
    hideCursor: true,
    linewrap: false,
  });
  bar.start(total, done);
  return { update: (now) => bar.update(now), stop: () => bar.stop() };
}
