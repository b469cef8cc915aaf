import { setTimeout } from 'node:timers/promises';
import type { Case } from './cases.ts';
import type { Peer, Runner } from './peer.ts';

export interface Measurement {
  readonly peer: string;
  /** Every run, in milliseconds, in order. */
  readonly milliseconds: readonly number[];
  readonly median: number;
  /** The first run of all, in milliseconds: what it takes longer than the others went into compiling and warming up. */
  readonly first: number;
}

export interface Failure {
  readonly peer: string;
  readonly error: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * OpenMP's threads spin for up to 200 ms after a loop and would take a core from whoever runs next; so each run waits until
 * the one before has gone quiet.
 */
export const PAUSE_MS = 220;

/**
 * Runs one case on all peers in turn, `repeats` times round, after `warmups` rounds that do not count. So whatever else the
 * machine does hits all of them alike, and their ratios mean something where their absolute times do not.
 */
export async function measure(
  task: Case,
  peers: readonly Peer[],
  { repeats = 9, warmups = 2, seconds = 30, pauseMs = PAUSE_MS } = {},
): Promise<{ measurements: Measurement[]; failures: Failure[] }> {
  const runners: { peer: string; runner: Runner; times: number[]; first?: number }[] = [];
  const failures: Failure[] = [];
  for (const peer of peers) {
    try {
      const runner = await peer.prepare(task);
      if (runner !== null) runners.push({ peer: peer.name, runner, times: [] });
    } catch (error) {
      failures.push({ peer: peer.name, error: error instanceof Error ? error.message : String(error) });
    }
  }
  const end = performance.now() + seconds * 1000;
  for (let round = 0; round < warmups + repeats; round++) {
    for (const each of runners) {
      await setTimeout(pauseMs);
      const time = await each.runner.run();
      each.first ??= time;
      if (round >= warmups) each.times.push(time);
    }
    if (round >= warmups + 2 && performance.now() > end) break;
  }
  for (const { runner } of runners) await runner.dispose();
  return {
    measurements: runners.map(({ peer, times, first = 0 }) => ({
      peer,
      milliseconds: times,
      median: median(times),
      first,
    })),
    failures,
  };
}
