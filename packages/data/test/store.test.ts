import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteTokenizer, huggingFaceTokenizer, loadTokenizer, textCorpus, tokenizeCorpus } from '../src/index.ts';
import { TokenBuffer } from '../src/token-buffer.ts';
import { byteStore, dataError, tokensOf } from './helpers.ts';

describe('tokenizeCorpus', () => {
  it('frames every document when the tokeniser says so, and only then', async () => {
    const framed = await byteStore(['ab', 'c']);
    expect(tokensOf(framed)).toEqual([256, 97, 98, 256, 256, 99, 256]);
    expect([...Array.from(framed.documentEnds)]).toEqual([4, 7]);
    expect(framed).toMatchObject({ length: 7, documents: 2, bytes: 3, skipped: 0, vocabSize: 257 });
    expect(tokensOf(await byteStore(['ab'], false))).toEqual([97, 98]);
  });

  it('leaves out documents with nothing to predict, and counts them', async () => {
    const store = await byteStore(['ab', '', 'c', 'de', ''], false);
    expect(tokensOf(store)).toEqual([97, 98, 100, 101]);
    expect(store).toMatchObject({ documents: 2, skipped: 3, bytes: 4 });
    expect(await byteStore(['ab', '', 'de'])).toMatchObject({ documents: 2, skipped: 1 });
  });

  it('refuses a corpus without text', async () => {
    expect((await dataError('DATA_EMPTY', () => byteStore([]))).message).toContain('0 documents');
    expect((await dataError('DATA_EMPTY', () => byteStore(['', 'x'], false))).message).toContain('2 documents');
  });

  it('holds the same tokens however the corpus cuts its documents into pieces', async () => {
    const whole = await byteStore(['one \u{1f40b} two', 'three']);
    const store = await tokenizeCorpus(
      {
        ...textCorpus('cut', []),
        async *pieces() {
          for (const text of ['one ', '\ud83d', '\udc0b t', '', 'wo']) yield { text, last: false };
          yield { text: '', last: true };
          yield { text: 'th', last: false };
          yield { text: 'ree', last: true };
        },
      },
      byteTokenizer({ documentSeparator: true }),
    );
    expect(tokensOf(store)).toEqual(tokensOf(whole));
    expect(store.fingerprint).toBe(whole.fingerprint);
  });

  it('never cuts a surrogate pair, wherever it falls', async () => {
    for (const before of [65_533, 65_534, 65_535, 65_536]) {
      const text = `${'x'.repeat(before)}\u{1f40b}${'y'.repeat(10)}`;
      const store = await byteStore([text], false);
      expect(byteTokenizer().decode(tokensOf(store))).toBe(text);
    }
  });

  it('reports progress, at the end too, and stops when told', async () => {
    const documents = Array.from({ length: 30 }, () => 'x'.repeat(100_000));
    const seen: number[] = [];
    await tokenizeCorpus(textCorpus('test', documents), byteTokenizer(), {
      onProgress: ({ bytes }) => seen.push(bytes),
    });
    expect(seen.at(-1)).toBe(3_000_000);
    expect(seen.length).toBeGreaterThanOrEqual(3);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    const controller = new AbortController();
    const work = tokenizeCorpus(textCorpus('test', documents), byteTokenizer(), {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(work).rejects.toThrow('enough');
  });

  it('lets timers run, also when the corpus is in memory', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('a timer')));
    const documents = Array.from({ length: 30 }, () => 'x'.repeat(100_000));
    const work = tokenizeCorpus(textCorpus('test', documents), byteTokenizer(), { signal: controller.signal });
    await expect(work).rejects.toThrow('a timer');
  });

  it('counts bytes before any token', async () => {
    const store = await byteStore(['ab', 'cde']);
    // Exact at document ends; within a document the framing tokens share its bytes.
    expect([0, 4, 9].map((end) => store.bytesBefore(end))).toEqual([0, 2, 5]);
    const single = await byteStore(['x'.repeat(200_000)], false);
    fc.assert(fc.property(fc.nat(200_000), (end) => single.bytesBefore(end) === end));
  });
});

describe('fingerprint', () => {
  it('tells tokens, boundaries, order and tokenisers apart, and is stable', async () => {
    const path = new URL('fixtures/metaspace.json', import.meta.url).pathname;
    const tokenizer = await loadTokenizer(path);
    const { tokenizer: spec } = tokenizer.toJSON() as { tokenizer: object };
    const stores = await Promise.all([
      byteStore(['ab', 'cd']),
      byteStore(['ab', 'ce']),
      byteStore(['abc', 'd']),
      byteStore(['cd', 'ab']),
      byteStore(['ab', 'cd'], false),
      byteStore(['abcd'], false),
      byteStore(['ab', 'cd', 'ab']),
      tokenizeCorpus(textCorpus('test', ['ab', 'cd']), tokenizer),
      tokenizeCorpus(textCorpus('test', ['ab', 'cd']), huggingFaceTokenizer(spec, { bosToken: null })),
    ]);
    expect(new Set(stores.map(({ fingerprint }) => fingerprint)).size).toBe(stores.length);
    expect((await byteStore(['ab', 'cd'])).fingerprint).toBe(stores[0]!.fingerprint);
    // Written down: a saved run has to be recognised by later versions and on other machines.
    expect(stores[0]!.fingerprint).toMatchInlineSnapshot(`"e80e3dab3e85abc8fda1c6204bfe0b06"`);
  });
});

describe('TokenBuffer', () => {
  it.each([256, 257, 65_537])('holds ids below %d across its chunks', (vocabSize) => {
    const buffer = new TokenBuffer(vocabSize);
    const chunk = 1 << 20;
    const ids = Int32Array.from({ length: chunk + 1000 }, (_, i) => (i * 7919) % vocabSize);
    buffer.append(ids.subarray(0, chunk - 5));
    buffer.append(ids.subarray(chunk - 5));
    expect(buffer.length).toBe(ids.length);
    const out = new Int32Array(2012).fill(-1);
    buffer.read(chunk - 1000, 2000, out, 7);
    expect(out.subarray(7, 2007)).toEqual(ids.subarray(chunk - 1000));
    expect([out[6], out[2007]]).toEqual([-1, -1]);
  });
});
