import { readdirSync, readFileSync } from 'node:fs';

/**
 * Milliseconds, since it was asked last, in which a thread of the process was ready but had no core: on a busy machine, at
 * a low priority, that is most of the time and no hang. From Linux's /proc; 0 where there is none.
 */
export function starvation(pid: number | undefined): () => number {
  let before = new Map<string, number>();
  return () => {
    const now = new Map<string, number>();
    let longest = 0;
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        const waited = Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
        now.set(task, waited);
        longest = Math.max(longest, waited - (before.get(task) ?? waited));
      }
    } catch {
      // No /proc, or a thread that has just ended.
    }
    before = now;
    return longest;
  };
}
