import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  huggingFaceTokenizer,
  loadTokenizer,
  openCorpus,
  type Tokenizer,
  tokenizeCorpus,
  tokenizerFromJSON,
} from '../src/index.ts';
import { dataError, folderWith, tokensOf } from './helpers.ts';

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly decoded: string;
}

const fixture = (name: string): URL => new URL(`fixtures/${name}`, import.meta.url);
const load = (name: string): Promise<Tokenizer> => loadTokenizer(fixture(`${name}.json`).pathname);
const casesOf = (name: string): Case[] => JSON.parse(readFileSync(fixture(`${name}.expected.json`), 'utf8'));
const json = (name: string): Record<string, unknown> => JSON.parse(readFileSync(fixture(`${name}.json`), 'utf8'));

describe.each(['byte-level', 'metaspace'])('tokenizer.json: %s', (name) => {
  it.each(casesOf(name))('encodes like the Rust library: $text', async ({ text, ids }) => {
    expect([...(await load(name)).encode(text)]).toEqual(ids);
  });

  it.each(casesOf(name).filter(({ text }) => !text.startsWith('\ufeff')))(
    'decodes like the Rust library, at once and token by token: $text',
    async ({ ids, decoded }) => {
      const tokenizer = await load(name);
      expect(tokenizer.decode(ids)).toBe(decoded);
      const decoder = tokenizer.decoder();
      let shown = '';
      for (const id of ids) {
        const text = decoder.push(id);
        expect(text).not.toContain('\ufffd');
        shown += text;
      }
      expect(shown + decoder.flush()).toBe(decoded);
    },
  );

  it('gives the tokens of the whole text, although it gets the text in pieces', async () => {
    const tokenizer = await load(name);
    // 300 kB: several pieces, cut both by the reader and by the store.
    let text = '';
    for await (const piece of (await openCorpus('moby-dick')).pieces()) if (text.length < 300_000) text += piece.text;
    const path = `${folderWith({ 'book.txt': text })}/book.txt`;
    const store = await tokenizeCorpus(await openCorpus(path), tokenizer);
    expect(tokensOf(store)).toEqual([tokenizer.bosId, ...tokenizer.encode(text), tokenizer.eosId]);
  });

  it('comes back from JSON', async () => {
    const tokenizer = await load(name);
    const again = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer)));
    expect(again.fingerprint).toBe(tokenizer.fingerprint);
    expect(again).toMatchObject({ vocabSize: tokenizer.vocabSize, bosId: tokenizer.bosId, eosId: tokenizer.eosId });
    expect(again.encode('the whale')).toEqual(tokenizer.encode('the whale'));
  });
});

// @huggingface/tokenizers 0.2.0 decodes byte fallback with a TextDecoder that swallows a byte order mark. Should this start to pass, the
// README's limit and the filter above can go.
it.fails('metaspace: decodes a byte order mark made of byte tokens', async () => {
  const { ids, decoded } = casesOf('metaspace').find(({ text }) => text.startsWith('\ufeff'))!;
  expect((await load('metaspace')).decode(ids)).toBe(decoded);
});

describe('special tokens', () => {
  it('are found by well-known names when nothing else says which', async () => {
    expect(await load('byte-level')).toMatchObject({ vocabSize: 400, bosId: 0, eosId: 0 });
    expect(await load('metaspace')).toMatchObject({ vocabSize: 480, bosId: 1, eosId: 2 });
    expect((await load('metaspace')).padId).toBeUndefined();
  });

  it('come from tokenizer_config.json beside the file, as string, object or null', async () => {
    const folder = folderWith({
      'tokenizer.json': JSON.stringify(json('metaspace')),
      'tokenizer_config.json': JSON.stringify({ bos_token: null, eos_token: { content: '</s>' }, pad_token: '<unk>' }),
    });
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.bosId).toBeUndefined();
    expect(tokenizer).toMatchObject({ name: 'tokenizer.json', eosId: 2, padId: 0 });
  });

  it('obey add_bos_token: false', () => {
    const config = { bos_token: '<s>', eos_token: '</s>', add_bos_token: false };
    expect(huggingFaceTokenizer(json('metaspace'), { config }).bosId).toBeUndefined();
  });

  it('come from the options before all else', async () => {
    const options = { config: { bos_token: '<s>' }, bosToken: null, eosToken: '<s>' };
    const tokenizer = huggingFaceTokenizer(json('metaspace'), options);
    expect(tokenizer.bosId).toBeUndefined();
    expect(tokenizer.eosId).toBe(1);
    const error = await dataError('TOKENIZER', () => huggingFaceTokenizer(json('metaspace'), { eosToken: '<nope>' }));
    expect(error.message).toBe(`tokenizer.json: eos token '<nope>' is not in the vocabulary`);
  });

  it('change the fingerprint, and give no text', async () => {
    const plain = huggingFaceTokenizer(json('metaspace'), { bosToken: null });
    const tokenizer = await load('metaspace');
    expect(plain.fingerprint).not.toBe(tokenizer.fingerprint);
    expect(tokenizer.decode([1, ...tokenizer.encode('the whale'), 2])).toBe('the whale');
    expect(tokenizer.decode([])).toBe('');
  });
});

describe('encoding', () => {
  it('leaves framing to the store: the post-processor adds nothing', () => {
    const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
    const post_processor = {
      type: 'TemplateProcessing',
      single: [special('<s>'), { Sequence: { id: 'A', type_id: 0 } }, special('</s>')],
      pair: [],
      special_tokens: {},
    };
    const plain = huggingFaceTokenizer(json('metaspace'));
    const framing = huggingFaceTokenizer({ ...json('metaspace'), post_processor });
    expect(framing.encode('the whale')).toEqual(plain.encode('the whale'));
  });

  it('counts the vocabulary by its largest id, holes and all', async () => {
    const spec = json('byte-level');
    const late = {
      id: 1000,
      content: '<|end|>',
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    };
    const tokenizer = huggingFaceTokenizer(
      { ...spec, added_tokens: [...(spec.added_tokens as object[]), late] },
      { eosToken: '<|end|>' },
    );
    expect(tokenizer).toMatchObject({ vocabSize: 1001, eosId: 1000 });
    expect([...tokenizer.encode('<|end|>')]).toEqual([1000]);
    // An id in the hole is in range, has no token, and must not become the word "undefined".
    expect(tokenizer.decode([500])).toBe('');
  });
});

describe('tokenizer.json: bad input', () => {
  it('missing', async () => {
    await dataError('DATA_MISSING', () => loadTokenizer('/nowhere/tokenizer.json'));
    await dataError('DATA_MISSING', () => loadTokenizer(folderWith({})));
  });

  it('not JSON, not an object, not a tokeniser', async () => {
    const folder = folderWith({
      'a.json': '{"model": ',
      'b.json': '[]',
      'c.json': '{"hello": 1}',
      'd.json': '{"model":{"type":"BPE"}}',
    });
    for (const name of ['a', 'b', 'c', 'd']) {
      const error = await dataError('TOKENIZER', () => loadTokenizer(`${folder}/${name}.json`));
      expect(error.message).toContain(`${name}.json`);
    }
  });

  it('an id out of range', async () => {
    const tokenizer = await load('byte-level');
    await dataError('TOKENIZER', () => tokenizer.decode([400]));
    await dataError('TOKENIZER', () => tokenizer.decoder().push(-1));
  });

  it('a word without an id, when the unknown token has none either', async () => {
    const tiny = {
      model: { type: 'WordPiece', vocab: { a: 0, b: 1 }, unk_token: '[UNK]' },
      pre_tokenizer: { type: 'Whitespace' },
    };
    const tokenizer = huggingFaceTokenizer(tiny);
    expect([...tokenizer.encode('a b')]).toEqual([0, 1]);
    expect((await dataError('TOKENIZER', () => tokenizer.encode('a c'))).message).toContain("'[UNK]' has no id");
  });
});
