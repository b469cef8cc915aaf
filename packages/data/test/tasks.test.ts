import { describe, expect, it } from 'vitest';
import { createSampler, type Dataset, openCorpus, taskDataset, textCorpus } from '../dist/index.js';

const MARKER = 256;
const text = textCorpus('letters', ['the cat sat on the mat. To be, or not to be: that is the question!'.repeat(20)]);
const options = { context: 32, sequences: 100 };

/** The training sequences, in order. */
function sequences({ train }: Dataset, count = train.segments): number[][] {
  return Array.from({ length: count }, (_, s) => {
    const out = new Int32Array(32);
    train.store.read(s * 32, 32, out, 0);
    return [...out];
  });
}

describe('bigram-backcopy', () => {
  it('begins with the marker, and copies behind triggers the letter before them', async () => {
    const data = await taskDataset('bigram-backcopy', text, options);
    const triggers = new Set([...'teo'].map((letter) => letter.charCodeAt(0)));
    let copied = 0;
    for (const ids of sequences(data)) {
      expect(ids[0]).toBe(MARKER);
      expect(ids.slice(1).every((id) => id >= 97 && id <= 122)).toBe(true);
      for (let i = 3; i < ids.length; i++) {
        if (!triggers.has(ids[i - 1]!) || triggers.has(ids[i - 2]!)) continue;
        expect(ids[i]).toBe(ids[i - 2]);
        copied++;
      }
    }
    expect(copied).toBeGreaterThan(300);
  });

  it('draws other letters as they follow one another in the text', async () => {
    const data = await taskDataset('bigram-backcopy', text, { ...options, sequences: 4000, triggers: 'z' });
    const pairs = sequences(data).flatMap((ids) => ids.slice(2).map((id, i) => [ids[i + 1]!, id] as const));
    const afterT = pairs.filter(([a]) => a === 't'.charCodeAt(0)).map(([, b]) => b);
    const share = (letter: string) => afterT.filter((b) => b === letter.charCodeAt(0)).length / afterT.length;
    const source = 'thecatsatonthemattobeornottobethatisthequestion'.repeat(20);
    const want = (letter: string) => source.split(`t${letter}`).length - 1;
    const all = source.split('t').length - 1;
    for (const letter of 'hosi') expect(share(letter)).toBeCloseTo(want(letter) / all, 1);
  });

  it('is the same for the same seed, whatever is read first, and another for another', async () => {
    const [a, b, c] = await Promise.all(
      [0, 0, 1].map((seed) => taskDataset('bigram-backcopy', text, { ...options, seed })),
    );
    const [last] = sequences(b!).slice(-1);
    expect(last).toEqual(sequences(a!).at(-1));
    expect(sequences(a!)).toEqual(sequences(b!));
    expect(sequences(a!)).not.toEqual(sequences(c!));
    expect(a!.fingerprint).toBe(b!.fingerprint);
    expect(a!.fingerprint).not.toBe(c!.fingerprint);
  });

  it('gives whole sequences as rows, also when they come again', async () => {
    const data = await taskDataset('bigram-backcopy', text, { ...options, sequences: 6 });
    const sampler = createSampler(data.train, { context: 32, batch: 4, seed: 1 });
    for (let step = 0; step < 5; step++) {
      const { tokens, starts, targets } = sampler.next();
      expect(starts).toBeNull();
      for (let row = 0; row < 4; row++) {
        expect(tokens[row * 32]).toBe(MARKER);
        expect(targets[row * 32]).toBe(tokens[row * 32 + 1]);
        expect(targets[row * 32 + 31]).toBe(-100);
      }
    }
  });

  it('holds out other sequences', async () => {
    const data = await taskDataset('bigram-backcopy', text, { ...options, validation: 0.1 });
    expect(data.validation?.segments).toBe(10);
    const held = new Int32Array(32);
    data.store.read(data.validation!.segmentStarts[0]!, 32, held, 0);
    expect(sequences(data)).not.toContainEqual([...held]);
    expect(held[0]).toBe(MARKER);
  });
});

describe('moving-marker', () => {
  it('has the marker once, at one of the positions', async () => {
    const all = sequences(await taskDataset('moving-marker', text, options));
    const positions = all.map((ids) => ids.indexOf(MARKER) + 1);
    expect(all.every((ids) => ids.filter((id) => id === MARKER).length === 1)).toBe(true);
    expect([...new Set(positions)].sort((a, b) => a - b)).toEqual([1, 2, 5, 9]);
  });
});

describe('options', () => {
  it.each([
    [{ context: 3 }, 'context'],
    [{ triggers: '' }, 'triggers'],
    [{ triggers: 'T' }, 'triggers'],
    [{ markerPositions: [] }, 'markerPositions'],
    [{ markerPositions: [31] }, 'markerPositions'],
    [{ validation: 1 }, 'validation'],
    [{ sequences: 0 }, 'sequences'],
    [{ more: 1 }, 'more'],
  ])('%j are refused', async (wrong, name) => {
    await expect(taskDataset('bigram-backcopy', text, { ...options, ...wrong })).rejects.toThrow(name);
  });

  it('takes the book', async () => {
    const data = await taskDataset('bigram-backcopy', await openCorpus('moby-dick'), options);
    expect(data.corpus.name).toBe('bigram-backcopy');
    for await (const piece of data.corpus.pieces()) {
      expect(piece.text).toMatch(/^[a-z]{31}$/);
      break;
    }
  });
});
