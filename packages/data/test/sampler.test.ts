import { ValueError } from '@lazy-attention/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Batch, createSampler, type TokenSplit, validationBatches } from '../src/index.ts';
import { shuffledOrder } from '../src/random.ts';
import { dataError, wholeSplit } from './helpers.ts';

/**
 * Documents whose tokens are all different, so that a batch can be checked without knowing how it was made: token t of the corpus
 * is the id t. Made as a store by hand, because no tokeniser gives such ids.
 */
function countingSplit(lengths: readonly number[]): TokenSplit {
  const offsets = Float64Array.from([0, ...lengths]);
  for (let i = 1; i < offsets.length; i++) offsets[i]! += offsets[i - 1]!;
  const length = offsets[lengths.length]!;
  const segmentStarts = offsets.slice(0, lengths.length);
  const store = {
    length,
    documents: lengths.length,
    skipped: 0,
    bytes: length,
    vocabSize: length,
    fingerprint: 'counting',
    documentEnds: offsets.slice(1),
    documentHashes: new Int32Array(2 * lengths.length),
    read: (start: number, count: number, out: Int32Array, at: number) => {
      if (start < 0 || start + count > length) throw new Error('read outside the store');
      for (let i = 0; i < count; i++) out[at + i] = start + i;
    },
    bytesBefore: (end: number) => end,
  };
  return { store, length, bytes: length, segments: lengths.length, fingerprint: `${lengths}`, segmentStarts, offsets };
}

const lengths = fc.array(fc.integer({ min: 2, max: 12 }), { minLength: 1, maxLength: 12 });
const shape = fc.record({
  context: fc.integer({ min: 2, max: 9 }),
  batch: fc.integer({ min: 1, max: 5 }),
  seed: fc.nat(),
});

/** Checks every promise of Batch against the documents. */
function checkBatch(batch: Batch, documents: readonly number[]): void {
  const { tokens, targets, starts, length } = batch;
  const split = countingSplit(documents);
  const documentOf = (token: number): number => split.offsets.findLastIndex((offset) => offset <= token);
  expect(tokens.length).toBe(batch.batch * length);
  expect(targets.length).toBe(tokens.length);
  let crossings = 0;
  for (let row = 0; row < batch.batch; row++) {
    let start = 0;
    for (let i = 0; i < length; i++) {
      const at = row * length + i;
      const token = tokens[at]!;
      const document = documentOf(token);
      const last = token + 1 === split.offsets[document + 1];
      expect(targets[at]).toBe(last ? -100 : token + 1);
      // A document begins in the row where the token is not the successor of the one before, or is the first of its document.
      if (i > 0 && (tokens[at - 1] !== token - 1 || token === split.offsets[document])) {
        start = i;
        crossings++;
        // Only a document's first token may follow another document.
        expect(token).toBe(split.offsets[document]);
      }
      expect(starts === null ? 0 : starts[at]).toBe(start);
    }
  }
  expect(starts === null).toBe(crossings === 0);
  expect(batch.count).toBe(targets.filter((target) => target !== -100).length);
  expect(batch.count).toBeGreaterThan(0);
}

describe('createSampler', () => {
  it('keeps every promise of Batch, and shows every token once per epoch except length % context', () => {
    fc.assert(
      fc.property(lengths, shape, (documents, { context, seed }) => {
        const split = countingSplit(documents);
        fc.pre(split.length >= context);
        const sampler = createSampler(split, { context, batch: 1, seed });
        expect(sampler.windows).toBe(Math.floor(split.length / context));
        for (let epoch = 0; epoch < 3; epoch++) {
          const seen = new Set<number>();
          for (let window = 0; window < sampler.windows; window++) {
            const batch = sampler.next();
            checkBatch(batch, documents);
            for (const token of batch.tokens) {
              expect(seen.has(token)).toBe(false);
              seen.add(token);
            }
          }
          expect(split.length - seen.size).toBe(split.length % context);
          if (epoch === 0) for (let t = 0; t < sampler.windows * context; t++) expect(seen.has(t)).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('keeps them in batches of many rows too, which may hold two epochs', () => {
    fc.assert(
      fc.property(lengths, shape, (documents, options) => {
        fc.pre(documents.reduce((a, b) => a + b) >= options.context);
        const sampler = createSampler(countingSplit(documents), options);
        for (let step = 0; step < 12; step++) checkBatch(sampler.next(), documents);
      }),
    );
  });

  it('gives the same rows whatever the batch size', () => {
    const split = countingSplit([50, 31, 20]);
    const rows = (batch: number, steps: number): number[] => {
      const sampler = createSampler(split, { context: 8, batch, seed: 3 });
      return Array.from({ length: steps }, () => [...sampler.next().tokens]).flat();
    };
    expect(rows(5, 12)).toEqual(rows(1, 60));
    expect(rows(4, 15)).toEqual(rows(1, 60));
  });

  it('goes on from a state exactly as if it had not stopped', () => {
    fc.assert(
      fc.property(lengths, shape, fc.nat(20), (documents, options, steps) => {
        fc.pre(documents.reduce((a, b) => a + b) >= options.context);
        const split = countingSplit(documents);
        const sampler = createSampler(split, options);
        for (let step = 0; step < steps; step++) sampler.next();
        const state = JSON.parse(JSON.stringify(sampler.state()));
        const resumed = createSampler(split, { ...options, state });
        expect(resumed.state()).toEqual(state);
        for (let step = 0; step < 8; step++) expect(resumed.next()).toEqual(sampler.next());
        expect(resumed.state()).toEqual(sampler.state());
      }),
    );
  });

  it('orders windows by seed and epoch alone: the same on every machine', () => {
    const order = (seed: number): number[] => {
      const sampler = createSampler(countingSplit([40]), { context: 4, batch: 10, seed });
      // First tokens of the rows of two epochs.
      return [sampler.next(), sampler.next()].flatMap(({ tokens }) => [...tokens.filter((_, i) => i % 4 === 0)]);
    };
    expect(order(0)).not.toEqual(order(1));
    expect(order(0).slice(0, 10)).not.toEqual(order(0).slice(10));
    expect(order(7).join()).toMatchInlineSnapshot(`"24,8,32,12,20,4,28,0,16,36,38,26,14,34,10,2,18,6,22,30"`);
    expect(order(Number.MAX_SAFE_INTEGER).join()).toMatchInlineSnapshot(
      `"12,24,32,4,28,36,0,8,16,20,29,1,17,37,13,5,21,9,33,25"`,
    );
  });

  it('shuffles evenly', () => {
    // 3000 shuffles of 4: each of the 24 orders 125 times on average, with a standard deviation of 11.
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 3000; seed++) {
      const sampler = createSampler(countingSplit([8]), { context: 2, batch: 4, seed });
      const order = sampler
        .next()
        .tokens.filter((_, i) => i % 2 === 0)
        .join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    for (const count of counts.values()) expect(Math.abs(count - 125)).toBeLessThan(55);
    expect([...shuffledOrder(5, () => 0)].sort()).toEqual([0, 1, 2, 3, 4]);
  });

  it('gives starts: null for a single document until a row wraps round its end', () => {
    const sampler = createSampler(countingSplit([64]), { context: 8, batch: 8, seed: 0 });
    expect(sampler.next().starts).toBeNull();
  });

  it('takes another ignoreIndex', () => {
    const sampler = createSampler(countingSplit([4, 4]), { context: 4, batch: 2, seed: 0, ignoreIndex: -1 });
    expect(sampler.next().targets.filter((target) => target === -1).length).toBe(2);
  });

  it('refuses a state of something else', async () => {
    const split = countingSplit([50]);
    const options = { context: 8, batch: 2, seed: 1 };
    const state = createSampler(split, options).state();
    const wrong = [
      { ...state, fingerprint: 'other' },
      { ...state, context: 16 },
      { ...state, seed: 2 },
      { ...state, version: 2 },
      { ...state, epoch: -1 },
      { ...state, epoch: 0.5 },
      { ...state, position: 7 },
      { ...state, position: Number.NaN },
      {},
    ];
    for (const bad of wrong)
      await dataError('SAMPLER_STATE', () => createSampler(split, { ...options, state: bad as never }));
    expect(createSampler(split, { ...options, batch: 5, state }).next().batch).toBe(5);
  });

  it('refuses data shorter than a window, and wrong options', async () => {
    const split = countingSplit([7]);
    const error = await dataError('DATA_TOO_SHORT', () => createSampler(split, { context: 8, batch: 1, seed: 0 }));
    expect(error.message).toBe(
      "createSampler: 7 tokens are fewer than one window of 8; use more text, or the option 'context' of at most 7",
    );
    for (const bad of [{ context: 1 }, { context: 2.5 }, { batch: 0 }, { seed: -1 }, { seed: 0.5 }, { sede: 1 }]) {
      expect(() => createSampler(split, { context: 2, batch: 1, seed: 0, ...bad })).toThrow(ValueError);
    }
  });
});

describe('validationBatches', () => {
  it('gives every window once, in order, the last batch shorter', () => {
    fc.assert(
      fc.property(lengths, shape, (documents, { context, batch }) => {
        const split = countingSplit(documents);
        fc.pre(split.length >= context);
        const batches = validationBatches(split, { context, batch });
        const tokens = [...batches].flatMap((b) => {
          checkBatch(b, documents);
          return [...b.tokens];
        });
        expect(tokens).toEqual(Array.from({ length: Math.floor(split.length / context) * context }, (_, t) => t));
        expect([...batches].flatMap((b) => [...b.tokens])).toEqual(tokens);
      }),
    );
  });

  it('spreads maxWindows evenly', () => {
    const first = (maxWindows: number): number[] =>
      [...validationBatches(countingSplit([100]), { context: 10, batch: 2, maxWindows })].flatMap(({ tokens }) =>
        [...tokens].filter((_, i) => i % 10 === 0),
      );
    expect(first(3)).toEqual([0, 30, 60]);
    expect(first(10)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    expect(first(99)).toEqual(first(10));
  });

  it('refuses bad options at once', async () => {
    const split = await wholeSplit(['abc'], false);
    await dataError('DATA_TOO_SHORT', () => validationBatches(split, { context: 4, batch: 1 }));
    for (const bad of [{ context: 1 }, { batch: 0 }, { maxWindows: 0 }, { limit: 3 }]) {
      expect(() => validationBatches(split, { context: 2, batch: 1, ...bad })).toThrow(ValueError);
    }
  });
});

describe('parts of a batch', () => {
  it('make up the batch together, in the same order, with its number of targets', async () => {
    const split = await wholeSplit(Array.from({ length: 40 }, (_, d) => 'abcdefgh'.repeat(1 + (d % 9))));
    const options = { context: 16, batch: 4, seed: 5 };
    const whole = createSampler(split, options);
    const parts = [0, 1].map((index) => createSampler(split, { ...options, part: { index, of: 2 } }));
    for (let step = 0; step < 30; step++) {
      const batch = whole.next();
      const [a, b] = parts.map((part) => part.next());
      for (const name of ['tokens', 'targets'] as const) expect([...a![name], ...b![name]]).toEqual([...batch[name]]);
      expect([a!.count, b!.count]).toEqual([batch.count, batch.count]);
    }
    expect(parts[1]!.state()).toEqual(whole.state());
    expect(() => createSampler(split, { ...options, part: { index: 0, of: 3 } })).toThrow('a multiple of part.of');
  });
});
