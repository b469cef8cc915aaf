import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { lines, run, temporary } from './helpers.ts';

/*
 * What lm-eval gives for SmolLM2, made by tools/golden/lm_eval_peer.py, against `benchmark` on the same weights from their GGUF.
 * Fifty items of each task were compared when the fixture was made; here the first few of each.
 */
const SHARED = process.env.LAZY_ATTENTION_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const MODEL = join(SHARED, 'models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf');
const ITEMS = join(SHARED, 'benchmarks');
const LIMIT = 4;

interface Fixture {
  readonly runs: readonly {
    readonly task: string;
    readonly fewShot: number;
    readonly samples: readonly {
      readonly logLikelihoods: readonly number[];
      readonly isGreedy: readonly boolean[];
      readonly target: number | null;
    }[];
  }[];
}

const fixture: Fixture = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/lm-eval-smollm2.json', import.meta.url)), 'utf8'),
);

describe('benchmark on SmolLM2', () => {
  it('gives the log-likelihoods of lm-eval to 1e-3, and its predictions', async (context) => {
    if (!existsSync(MODEL) || !existsSync(ITEMS)) {
      context.skip(`${MODEL} or ${ITEMS} is not there; name their folder in LAZY_ATTENTION_SHARED`);
    }
    const samples = join(temporary(), 'samples.jsonl');
    const tasks = fixture.runs.filter(({ fewShot }) => fewShot === 0).map(({ task }) => task);
    const { code, stderr } = await run(
      ...['benchmark', MODEL, '--data', ITEMS, '--tasks', tasks.join(), '--limit', String(LIMIT), '--samples', samples],
    );
    expect(code, stderr).toBe(0);
    const ours = lines(readFileSync(samples, 'utf8')).map((line) => JSON.parse(line));
    expect(ours).toHaveLength(tasks.length * LIMIT);
    for (const sample of ours) {
      const theirs = fixture.runs.find(({ task, fewShot }) => task === sample.task && fewShot === 0)?.samples[
        sample.doc_id
      ];
      if (theirs === undefined) throw new Error(`the fixture lacks item ${sample.doc_id} of ${sample.task}`);
      const { logLikelihoods, isGreedy, target } = theirs;
      expect(sample.log_likelihoods).toHaveLength(logLikelihoods.length);
      for (const [i, expected] of logLikelihoods.entries()) {
        expect(Math.abs(sample.log_likelihoods[i] - expected)).toBeLessThan(1e-3);
      }
      expect(sample.is_greedy).toEqual(isGreedy);
      // lm-eval writes the answer of some tasks as text.
      if (target !== null) expect(sample.target).toBe(target);
      if (logLikelihoods.length > 1)
        expect(sample.prediction).toBe(logLikelihoods.indexOf(Math.max(...logLikelihoods)));
    }
  });
});
