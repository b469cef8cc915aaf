import { ValueError } from '@lazy-attention/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitStore, type TokenSplit } from '../src/index.ts';
import { byteStore, dataError, tokensOf } from './helpers.ts';

const story = (i: number): string => `story number ${i} ${'x'.repeat((i * 37) % 50)}`;
const stories = (count: number): string[] => Array.from({ length: count }, (_, i) => story(i));

/** Start and end of every segment in the store. */
function ranges(split: TokenSplit): [number, number][] {
  return Array.from(split.segmentStarts, (start, s) => [start, start + split.offsets[s + 1]! - split.offsets[s]!]);
}

function texts(split: TokenSplit): string[] {
  return ranges(split).map(([start, end]) => tokensOf(split.store, start, end).join());
}

describe('splitStore', () => {
  it('divides every store into two parts that share nothing and miss nothing', async () => {
    const documents = fc.array(fc.string({ maxLength: 30 }), { minLength: 1, maxLength: 30 });
    const share = fc.double({ min: 0.01, max: 0.9, noNaN: true });
    await fc.assert(
      fc.asyncProperty(documents, share, fc.nat(5), fc.boolean(), async (docs, validation, seed, framed) => {
        let store: Awaited<ReturnType<typeof byteStore>>;
        let split: ReturnType<typeof splitStore>;
        try {
          store = await byteStore(docs, framed);
          split = splitStore(store, { validation, seed });
        } catch (error) {
          expect(['DATA_EMPTY', 'DATA_TOO_SHORT']).toContain((error as { code?: string }).code);
          return;
        }
        const all = [...ranges(split.train), ...ranges(split.validation!)].sort(([a], [b]) => a - b);
        expect(all[0]![0]).toBe(0);
        expect(all.at(-1)![1]).toBe(store.length);
        for (let i = 1; i < all.length; i++) expect(all[i]![0]).toBe(all[i - 1]![1]);
        for (const [start, end] of all) expect(end - start).toBeGreaterThanOrEqual(2);
        // No segment holds a document boundary inside.
        for (const [start, end] of all) {
          expect(Array.from(store.documentEnds).filter((e) => e > start && e < end)).toEqual([]);
        }
        expect(split.train.length + split.validation!.length).toBe(store.length);
        expect(split.train.bytes + split.validation!.bytes).toBe(store.bytes);
      }),
      { numRuns: 200 },
    );
  });

  it('holds out the last tokens of a single document', async () => {
    const split = splitStore(await byteStore(['0123456789'.repeat(10)], false), { validation: 0.25 });
    expect(split.method).toBe('tail');
    expect(ranges(split.train)).toEqual([[0, 75]]);
    expect(ranges(split.validation!)).toEqual([[75, 100]]);
    expect(split.validation!.bytes).toBe(25);
  });

  it('holds out whole documents of many, about as many tokens as asked for', async () => {
    const store = await byteStore(stories(500));
    const split = splitStore(store, { validation: 0.1 });
    expect(split.method).toBe('documents');
    expect(split.validation!.length).toBeGreaterThan(0.095 * store.length);
    expect(split.validation!.length).toBeLessThanOrEqual(0.1 * store.length);
  });

  it('chooses the same documents in any order, others for another seed, and the same again', async () => {
    const held = async (docs: string[], seed: number): Promise<string[]> =>
      texts(splitStore(await byteStore(docs), { seed }).validation!).sort();
    const forward = await held(stories(300), 0);
    expect(await held(stories(300), 0)).toEqual(forward);
    expect(await held(stories(300).reverse(), 0)).toEqual(forward);
    expect(await held(stories(300), 1)).not.toEqual(forward);
  });

  it('keeps copies of a document on one side', async () => {
    const copies = stories(100).flatMap((text) => [text, text, text]);
    const store = await byteStore(copies);
    for (let seed = 0; seed < 20; seed++) {
      const split = splitStore(store, { validation: 0.3, seed });
      expect(split.method).toBe('documents');
      const train = new Set(texts(split.train));
      for (const text of texts(split.validation!)) expect(train.has(text)).toBe(false);
    }
  });

  it('falls back to the tail when documents are too large to choose from', async () => {
    const split = splitStore(await byteStore(['a'.repeat(1000), 'b'.repeat(1000)]), { validation: 0.1 });
    expect(split.method).toBe('tail');
    expect(split.train.segments).toBe(2);
    expect(split.validation!.segments).toBe(1);
  });

  it('holds out nothing when told so', async () => {
    const split = splitStore(await byteStore(['abc', 'def']), { validation: 0 });
    expect(split).toMatchObject({ validation: null, method: 'none' });
    expect(split.train.length).toBe(10);
  });

  it('gives different parts different fingerprints', async () => {
    const store = await byteStore(stories(100));
    const prints = [0, 1].flatMap((seed) => {
      const { train, validation } = splitStore(store, { seed });
      return [train.fingerprint, validation!.fingerprint];
    });
    expect(new Set(prints).size).toBe(4);
    expect(splitStore(store).train.fingerprint).toBe(prints[0]);
  });

  it('refuses what cannot be divided, and shares that are none', async () => {
    const store = await byteStore(['abc'], false);
    await dataError('DATA_TOO_SHORT', () => splitStore(store, { validation: 0.1 }));
    for (const validation of [-0.1, 1, Number.NaN]) expect(() => splitStore(store, { validation })).toThrow(ValueError);
    expect(() => splitStore(store, { seed: 0.5 })).toThrow(ValueError);
    expect(() => splitStore(store, { fraction: 0.5 } as never)).toThrow("unknown option 'fraction'");
  });
});
