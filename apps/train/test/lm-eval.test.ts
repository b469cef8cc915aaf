import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { lines, run, temporary } from './helpers.ts';

/*
 * What lm-eval gives for SmolLM2, made by tools/golden/lm_eval_peer.py, against `benchmark` on the same weights from their GGUF.
 * Fifty items of each task; of them here the first few, or all with LAZY_ATTENTION_ALL_ITEMS=1 (an hour).
 */
const SHARED = process.env.LAZY_ATTENTION_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const MODEL = join(SHARED, 'models/SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf');
const ITEMS = join(SHARED, 'benchmarks');
const LIMIT = process.env.LAZY_ATTENTION_ALL_ITEMS === undefined ? 4 : 50;

interface Fixture {
  /** Pages cut to so many characters (UTF-16), in windows of so many tokens; in float64, since float32 loses 1e-5 a token. */
  readonly wikitext: {
    readonly characters: number;
    readonly maxLength: number;
    readonly logLikelihoods: readonly number[];
  };
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

type Item = Fixture['runs'][number]['samples'][number];

/** A line of `--samples`. */
interface Sample {
  readonly task: string;
  readonly doc_id: number;
  readonly log_likelihoods: readonly number[];
  readonly is_greedy: readonly boolean[];
  readonly prediction: number;
  readonly target: number;
}

async function benchmark(data: string, tasks: readonly string[], ...options: string[]): Promise<Sample[]> {
  const samples = join(temporary(), 'samples.jsonl');
  const { code, stderr } = await run(
    ...['benchmark', MODEL, '--data', data, '--tasks', tasks.join(), ...options],
    ...['--limit', String(LIMIT), '--samples', samples],
  );
  expect(code, stderr).toBe(0);
  return lines(readFileSync(samples, 'utf8')).map((line) => JSON.parse(line));
}

function expectSame(sample: Sample, { logLikelihoods, isGreedy, target }: Item): void {
  expect(sample.log_likelihoods).toHaveLength(logLikelihoods.length);
  for (const [i, expected] of logLikelihoods.entries()) {
    expect(Math.abs((sample.log_likelihoods[i] as number) - expected)).toBeLessThan(1e-3);
  }
  expect(sample.is_greedy).toEqual(isGreedy);
  // lm-eval writes the answer of some tasks as text.
  if (target !== null) expect(sample.target).toBe(target);
  if (logLikelihoods.length > 1) expect(sample.prediction).toBe(logLikelihoods.indexOf(Math.max(...logLikelihoods)));
}

const absent = !existsSync(MODEL) || !existsSync(ITEMS);
const why = absent ? ` (skipped: ${MODEL} or ${ITEMS} is not there; name their folder in LAZY_ATTENTION_SHARED)` : '';

describe.skipIf(absent)(`benchmark on SmolLM2${why}`, () => {
  it.each([0, 5])(
    'gives the log-likelihoods of lm-eval to 1e-3, and its predictions, after %i examples',
    {
      timeout: LIMIT * 150_000,
    },
    async (fewShot) => {
      const runs = fixture.runs.filter((one) => one.fewShot === fewShot);
      const ours = await benchmark(
        ITEMS,
        runs.map(({ task }) => task),
        ...['--few-shot', String(fewShot)],
      );
      expect(ours).toHaveLength(runs.length * LIMIT);
      for (const sample of ours) {
        const theirs = runs.find(({ task }) => task === sample.task)?.samples[sample.doc_id];
        if (theirs === undefined) throw new Error(`the fixture lacks item ${sample.doc_id} of ${sample.task}`);
        expectSame(sample, theirs);
      }
    },
  );

  it('gives those of the beginnings of WikiText pages, in more than one window', {
    timeout: LIMIT * 150_000,
  }, async () => {
    const { characters, maxLength, logLikelihoods } = fixture.wikitext;
    const data = temporary();
    mkdirSync(join(data, 'wikitext'));
    const pages = lines(readFileSync(join(ITEMS, 'wikitext/test.jsonl'), 'utf8')).map((line) => JSON.parse(line));
    const cut = pages.map(({ page }) => `${JSON.stringify({ page: page.slice(0, characters) })}\n`);
    writeFileSync(join(data, 'wikitext/test.jsonl'), cut.join(''));
    const samples = await benchmark(data, ['wikitext'], '--context', String(maxLength));
    expect(samples).toHaveLength(LIMIT);
    for (const {
      doc_id: page,
      log_likelihoods: [found],
    } of samples) {
      expect(Math.abs((found as number) - (logLikelihoods[page] as number)), `page ${page}`).toBeLessThan(1e-3);
    }
  });
});
