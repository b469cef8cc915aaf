import type { Backend } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConformanceOptions } from './case.ts';
import { conformanceCases } from './cases.ts';
import { passesNow, type Skips, unknownSkips } from './run.ts';

export { runTermination, type TerminationOptions } from './terminate.ts';

/** What `runConformance` takes beside `ConformanceOptions`. */
export interface RunConformanceOptions extends ConformanceOptions {
  /** Tests that are known to fail, by name, with the reason. Each is still run; one that passes fails the suite. */
  readonly skip?: Skips;
  /** For one test, default 60,000. */
  readonly timeoutMs?: number;
}

/**
 * Registers the whole suite with vitest. A backend's test file is this one call:
 *
 *     runConformance('cpu', () => createBackend('cpu'), { dtypes: ['f32', 'bf16'] });
 */
export function runConformance(
  name: string,
  factory: () => Backend | Promise<Backend>,
  options: RunConformanceOptions = {},
): void {
  const { skip = {}, timeoutMs = 60_000, ...which } = options;
  const cases = conformanceCases(which);
  describe(`conformance of ${name}`, { timeout: timeoutMs }, () => {
    let backend: Backend;
    beforeAll(async () => {
      backend = await factory();
    }, timeoutMs);
    afterAll(async () => {
      await backend?.dispose();
    });

    test('the skip list names tests that exist', () => {
      expect(unknownSkips(cases, skip)).toEqual([]);
    });

    for (const { name: title, run, lacks } of cases) {
      const reason = skip[title];
      test(title, async (context) => {
        const lack = lacks?.(backend);
        if (lack !== undefined) context.skip(`not offered: ${lack}`);
        if (reason === undefined) return run(backend);
        const failed = await run(backend).then(
          () => false,
          () => true,
        );
        if (failed) context.skip(reason);
        throw new Error(passesNow(reason));
      });
    }
  });
}
