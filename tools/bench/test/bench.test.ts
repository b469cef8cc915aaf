import { describe, expect, test } from 'vitest';
import { allCases, flopsOf, titleOf, tokensOf } from '../src/cases.ts';
import { measure, median } from '../src/measure.ts';
import type { Peer } from '../src/peer.ts';
import { table } from '../src/report.ts';

const task = allCases('cpu')[0];

/** Takes its times from a list and notes when it was asked. */
function fake(name: string, times: number[], log: string[] = []): Peer {
  return {
    name,
    open: async () => ({ about: 'fake' }),
    prepare: async () => ({
      run: async () => {
        log.push(name);
        return times.shift() ?? 0;
      },
      dispose: async () => {
        log.push(`${name} disposed`);
      },
    }),
    close: async () => {},
  };
}

test('the median of odd and even counts', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
});

describe('measure', () => {
  test('takes turns, leaves the warm-up out, disposes', async () => {
    const log: string[] = [];
    const peers = [fake('a', [100, 1, 2, 3], log), fake('b', [200, 5, 6, 7], log)];
    const { measurements } = await measure(task, peers, { warmups: 1, repeats: 3, pauseMs: 0 });
    expect(log).toEqual(['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b', 'a disposed', 'b disposed']);
    expect(measurements).toEqual([
      { peer: 'a', milliseconds: [1, 2, 3], median: 2, first: 100 },
      { peer: 'b', milliseconds: [5, 6, 7], median: 6, first: 200 },
    ]);
  });

  test('a peer without the case is left out, one that fails is listed', async () => {
    const without: Peer = { ...fake('without', []), prepare: async () => null };
    const failing: Peer = {
      ...fake('failing', []),
      prepare: async () => {
        throw new Error('no memory');
      },
    };
    const { measurements, failures } = await measure(task, [without, failing, fake('a', [])], {
      repeats: 1,
      pauseMs: 0,
    });
    expect(measurements.map(({ peer }) => peer)).toEqual(['a']);
    expect(failures).toEqual([{ peer: 'failing', error: 'no memory' }]);
  });
});

test('the table gives rate, share of the peak and ratio', () => {
  const measurements = [
    { peer: 'ours', milliseconds: [10], median: 10, first: 10 },
    { peer: 'theirs', milliseconds: [20], median: 20, first: 20 },
  ];
  const ceilings = [{ flopsPerSecond: 400e9, copyBytesPerSecond: 1, readBytesPerSecond: 1 }];
  const lines = table({ results: [{ case: task, measurements, failures: [] }], ceilings });
  expect(lines[2]).toBe('| matmul 1024x1024x1024 nn | ours | 10.00 | 10.00 | 214.7 | 54 % |  | 1.00 |');
  expect(lines[3]).toBe('| matmul 1024x1024x1024 nn | theirs | 20.00 | 20.00 | 107.4 | 27 % |  | 2.00 |');
});

test('every case has a title of its own and useful operations', () => {
  const cases = allCases('cpu');
  expect(new Set(cases.map(titleOf)).size).toBe(cases.length);
  for (const each of cases) expect(flopsOf(each)).toBeGreaterThan(0);
  expect(cases.map(tokensOf).filter((tokens) => tokens > 0)).toEqual([4096, 1024, 1]);
});

test('attention counts the attended pairs alone', () => {
  const sizes = { kind: 'attention', batch: 2, heads: 3, length: 4, headDim: 8, window: 1, local: null } as const;
  expect(flopsOf({ ...sizes, backward: false })).toBe(2 * 3 * 10 * 8 * 4);
  expect(flopsOf({ ...sizes, backward: true })).toBe(2 * 3 * 10 * 8 * 4 * 3);
});
