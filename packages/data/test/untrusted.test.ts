import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, symlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, it } from 'vitest';
import {
  byteTokenizer,
  createSampler,
  huggingFaceTokenizer,
  loadTokenizer,
  openCorpus,
  readParquetRows,
  type SamplerState,
  type Tokenizer,
  type TokenizerJSON,
  textCorpus,
  tokenizeCorpus,
  tokenizerFromJSON,
} from '../src/index.ts';
import { linesOf } from '../src/read/jsonl.ts';
import { withTimeLimit } from '../src/time-limit.ts';
import { dataError, documentsOf, folderWith, wholeSplit } from './helpers.ts';

// Files are not to be trusted: whatever they hold is read rightly or refused with a DataError, in bounded time.

const rows = Array.from({ length: 40 }, (_, i) => `It was the best of times ${i}`);
const column = (data: unknown[]): ColumnSource => ({ name: 'text', data: data as string[], type: 'STRING' });
const parquet = (codec: 'UNCOMPRESSED' | 'SNAPPY', data: unknown[] = rows): Uint8Array =>
  new Uint8Array(parquetWriteBuffer({ columnData: [column(data)], rowGroupSize: 20, codec }));
const fileWith = (name: string, content: string | Uint8Array): string => `${folderWith({ [name]: content })}/${name}`;

function isAlive(process: string): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${process}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

describe('parquet', () => {
  it('ends at a page header that makes hyparquet loop for ever', { timeout: 120_000 }, async () => {
    const bytes = parquet('UNCOMPRESSED');
    // The type of num_nulls in the first page's header: a double, whose eight bytes take the following fields with them.
    expect(bytes[15]).toBe(0x15);
    bytes[15] = 0x17;
    const path = fileWith('a.parquet', bytes);
    const error = await dataError('DATA_FORMAT', async () => documentsOf(await openCorpus(path)));
    expect(error.message).toContain('row group 0 cannot be read');
  });

  it('gives rows of all columns, or an error where a page makes hyparquet loop', { timeout: 120_000 }, async () => {
    const bytes = parquet('SNAPPY');
    const texts = rows.map((text) => ({ text }));
    expect(await readParquetRows(fileWith('a.parquet', bytes))).toEqual(texts);
    const looping = parquet('UNCOMPRESSED');
    looping[15] = 0x17;
    const path = fileWith('b.parquet', looping);
    const error = await dataError('DATA_FORMAT', () => readParquetRows(path));
    expect(error.message).toContain('row group 0 cannot be read');
    // Two columns of other types, nulls and lists come as values of JavaScript.
    const mixed = [
      column(['a', null]),
      { name: 'label', data: [1n, 2n], type: 'INT64' } as ColumnSource,
      { name: 'list', data: [['x'], []], type: 'JSON' } as ColumnSource,
    ];
    const both = new Uint8Array(parquetWriteBuffer({ columnData: mixed }));
    expect(await readParquetRows(fileWith('c.parquet', both))).toEqual([
      { text: 'a', label: 1n, list: ['x'] },
      { text: null, label: 2n, list: [] },
    ]);
  });

  it('outlives a run length at which hyparquet grows an array until V8 aborts', { timeout: 120_000 }, async () => {
    const data = Array.from({ length: 200 }, (_, i) => `It was ${i % 2}`);
    const bytes = new Uint8Array(parquetWriteBuffer({ columnData: [column(data)], codec: 'UNCOMPRESSED' }));
    // The page's values are one bit wide, and packed: their header, and the first of the bits, become a run of 2^31 - 1.
    const at = Buffer.from(bytes).indexOf(Buffer.of(0xaa, 0xaa, 0xaa, 0xaa, 0xaa));
    expect(bytes[at - 1]).toBe(2 * (200 / 8) + 1);
    bytes.set([0xfe, 0xff, 0xff, 0xff, 0x0f], at - 1);
    const path = fileWith('a.parquet', bytes);
    const error = await dataError('DATA_FORMAT', async () => documentsOf(await openCorpus(path)));
    // Which of the two comes first depends on the machine.
    expect(error.message).toMatch(
      /row group 0 cannot be read: (the process that read it died|nothing was read of it for \d+ s); the file is damaged/,
    );
    // The next file gets a process of its own.
    const intact = fileWith('b.parquet', parquet('UNCOMPRESSED'));
    expect(await documentsOf(await openCorpus(intact))).toEqual(rows);
  });

  it('stops at once when told in the midst of such a loop', { timeout: 120_000 }, async () => {
    const bytes = parquet('UNCOMPRESSED');
    bytes[15] = 0x17; // as above
    const corpus = await openCorpus(fileWith('a.parquet', bytes));
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 500);
    const begin = performance.now();
    const pieces = () => corpus.pieces({ signal: controller.signal });
    await expect(documentsOf({ ...corpus, pieces })).rejects.toThrow('enough');
    expect(performance.now() - begin).toBeLessThan(5000); // its patience is 6 s
  });

  it.skipIf(process.platform !== 'linux')(
    'leaves no process behind that loops for ever',
    { timeout: 120_000 },
    async () => {
      // Whoever reads is killed, and so does not end the process; /proc is Linux's.
      const bytes = parquet('UNCOMPRESSED');
      bytes[15] = 0x17; // as above
      const path = fileWith('a.parquet', bytes);
      const program = `
      const { openCorpus } = await import(process.argv[1]);
      const corpus = await openCorpus(process.argv[2]);
      console.log('opened');
      for await (const _ of corpus.pieces()) ;`;
      const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));
      const reader = spawn(process.execPath, ['--input-type=module', '-e', program, dist, path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(reader.stdout, 'data');
      const child = readFileSync(`/proc/${reader.pid}/task/${reader.pid}/children`, 'utf8').trim();
      expect(child).toMatch(/^\d+$/);
      await sleep(2000); // in which it begins to loop
      reader.kill('SIGKILL');
      await once(reader, 'exit');
      while (isAlive(child)) await sleep(100);
    },
  );

  it.each(['UNCOMPRESSED', 'SNAPPY'] as const)('never gives fewer rows than the file has (%s)', async (codec) => {
    const intact = parquet(codec);
    const footer = intact.length - 8 - new DataView(intact.buffer).getUint32(intact.length - 8, true);
    let counts = 0;
    for (let at = footer; at < intact.length - 8; at++) {
      // 20 as it stands there, and so every count of rows and values of a row group.
      if (intact[at] !== 0x28) continue;
      counts++;
      for (const other of [0x14, 0, 0x2a, 0x27]) {
        const bytes = intact.slice();
        bytes[at] = other;
        const path = fileWith('a.parquet', bytes);
        const found = await openCorpus(path)
          .then(documentsOf)
          .catch((error) => error);
        if (Array.isArray(found)) expect(found, `byte ${at} = ${other}`).toEqual(rows);
        else expect(found.name === 'DataError' && found.code, `byte ${at}: ${found}`).toMatch(/^DATA_/);
      }
    }
    expect(counts).toBeGreaterThanOrEqual(4);
  });

  it('stops at once when told, between pages too', async () => {
    const corpus = await openCorpus(fileWith('a.parquet', parquet('SNAPPY')));
    const controller = new AbortController();
    const read = async () => {
      for await (const _ of corpus.pieces({ signal: controller.signal })) controller.abort(new Error('enough'));
    };
    await expect(read()).rejects.toThrow('enough');
    await expect(
      documentsOf({ ...corpus, pieces: () => corpus.pieces({ signal: controller.signal }) }),
    ).rejects.toThrow('enough');
  });
});

describe('documents', () => {
  it('are the same from JSONL and from parquet, null included', async () => {
    const data = ['a', null, 'b', ''];
    const jsonl = fileWith('a.jsonl', data.map((text) => JSON.stringify({ text })).join('\n'));
    const written = fileWith('a.parquet', parquet('SNAPPY', data));
    expect(await documentsOf(await openCorpus(jsonl))).toEqual(['a', '', 'b', '']);
    expect(await documentsOf(await openCorpus(written))).toEqual(['a', '', 'b', '']);
  });

  it.each([
    ['a NUL', 'a\0b', /NUL character/],
    ['half of a surrogate pair', 'a\ud800b', /half of a surrogate pair/],
  ])('with %s are refused in JSONL', async (_, text, message) => {
    const path = fileWith('a.jsonl', `{"text":"fine"}\n${JSON.stringify({ text })}`);
    const error = await dataError('DATA_NOT_TEXT', async () => documentsOf(await openCorpus(path)));
    expect(error.message).toMatch(message);
    expect(error.message).toContain('line 2');
  });

  it('with a NUL are refused in parquet', async () => {
    const path = fileWith('a.parquet', parquet('SNAPPY', ['fine', 'a\0b']));
    const error = await dataError('DATA_NOT_TEXT', async () => documentsOf(await openCorpus(path)));
    expect(error.message).toMatch(/row 1: .*NUL character/);
  });

  it('of a line that no string can hold are refused', async () => {
    async function* endless() {
      yield 'short\n';
      for (;;) yield 'x'.repeat(1 << 20);
    }
    const read = async () => {
      for await (const _ of linesOf('a.jsonl', endless()));
    };
    expect((await dataError('DATA_FORMAT', read)).message).toMatch(/^a\.jsonl, line 2: longer than 268435456 char/);
  });

  it.each(['.json', '.csv', '.TSV'])('are not made of the braces and commas of %s', async (extension) => {
    const path = fileWith(`data${extension}`, '{"text": "one"}');
    const error = await dataError('DATA_FORMAT', () => openCorpus(path));
    expect(error.message).toContain("'format': 'jsonl'");
    expect(await documentsOf(await openCorpus(path, { format: 'text' }))).toEqual(['{"text": "one"}']);
    expect(await documentsOf(await openCorpus(path, { format: 'jsonl' }))).toEqual(['one']);
  });
});

describe('folders', () => {
  it('may hold dangling links and pipes of other extensions', async () => {
    const folder = folderWith({ 'a.txt': 'a' });
    symlinkSync('/nowhere/at/all.png', `${folder}/b.png`);
    symlinkSync('/nowhere/at/all', `${folder}/c`);
    execFileSync('mkfifo', [`${folder}/d.txt`]);
    expect(await documentsOf(await openCorpus(folder))).toEqual(['a']);
    symlinkSync('/nowhere/at/all.txt', `${folder}/e.txt`);
    expect((await dataError('DATA_MISSING', () => openCorpus(folder))).message).toContain('e.txt');
  });

  it('never wait for a pipe', async () => {
    const folder = folderWith({ 'tokenizer.json': readFileSync(fixture('metaspace.json')) });
    execFileSync('mkfifo', [`${folder}/pipe`, `${folder}/tokenizer_config.json`]);
    await dataError('DATA_UNREADABLE', () => loadTokenizer(`${folder}/pipe`));
    await dataError('DATA_UNREADABLE', () => loadTokenizer(folder));
  });
});

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

/** Words as tokens, so that a file fits on a line. */
const wordLevel = (more: object = {}) => ({
  model: { type: 'WordLevel', vocab: { It: 0, was: 1, the: 2, best: 3, '[UNK]': 4 }, unk_token: '[UNK]' },
  pre_tokenizer: { type: 'Whitespace' },
  ...more,
});

describe('tokenizer.json', () => {
  it('may begin with a byte order mark', async () => {
    const tokenizer = await loadTokenizer(fileWith('tokenizer.json', `\ufeff${JSON.stringify(wordLevel())}`));
    expect([...tokenizer.encode('was the')]).toEqual([1, 2]);
  });

  it.each([2 ** 31 - 1, 2 ** 31, 2 ** 24, -1, 1.5, '3', null])('refuses the id %j', async (id) => {
    const inVocabulary = wordLevel({ model: { type: 'WordLevel', vocab: { a: 0, b: id }, unk_token: 'a' } });
    const error = await dataError('TOKENIZER', () => huggingFaceTokenizer(inVocabulary));
    expect(error.message).toMatch(/model\.vocab\["b"\] is .*; expected a token id from 0 to 16777215/);
    const added = wordLevel({ added_tokens: [{ id, content: '<s>', special: true }] });
    expect((await dataError('TOKENIZER', () => huggingFaceTokenizer(added))).message).toContain('added_tokens.0.id is');
  });

  it('gives time again that passed without the processor', { timeout: 600_000 }, () => {
    let calls = 0;
    const work = () => {
      if (calls++ === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 11_000);
      return calls;
    };
    expect(withTimeLimit('asleep', 0, work)).toBe(2);
  });

  it('stops a pattern that backtracks for ever', { timeout: 600_000 }, async () => {
    const split = { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated', invert: false };
    const tokenizer = huggingFaceTokenizer(wordLevel({ pre_tokenizer: split }), { name: 'slow.json' });
    expect([...tokenizer.encode('was')]).toEqual([1]);
    const error = await dataError('TOKENIZER', () => tokenizer.encode(`${'a'.repeat(60)}b`));
    expect(error.message).toMatch(/^slow\.json: 61 characters were not done after 10 s/);
    expect([...tokenizer.encode('the')]).toEqual([2]);
  });

  const broken: unknown[] = [
    {},
    { model: null },
    { model: 3 },
    { model: { vocab: null } },
    { model: { vocab: 'a' } },
    { model: { type: 'BPE', vocab: { a: 0 }, merges: 3 } },
    { model: { type: 'BPE', vocab: { a: 0 }, merges: [3] } },
    { model: { type: 'Unigram', vocab: [3] } },
    { model: { type: 'Unigram', vocab: [['a']] } },
    { model: { type: 'Unigram', vocab: [] } },
    wordLevel({ added_tokens: 3 }),
    wordLevel({ added_tokens: [null] }),
    wordLevel({ added_tokens: [{ id: 5 }] }),
    wordLevel({ normalizer: 'x' }),
    wordLevel({ normalizer: { type: 'Nonsense' } }),
    wordLevel({ normalizer: { type: 'Sequence' } }),
    wordLevel({ normalizer: { type: 'Replace' } }),
    wordLevel({ normalizer: { type: 'Replace', pattern: { Regex: '(' }, content: '' } }),
    wordLevel({ pre_tokenizer: { type: 'Split', pattern: 3 } }),
    wordLevel({ pre_tokenizer: { type: 'Sequence', pretokenizers: [null] } }),
    wordLevel({ post_processor: { type: 'TemplateProcessing' } }),
    wordLevel({ decoder: { type: 'Sequence', decoders: 3 } }),
    wordLevel({ decoder: [] }),
  ];
  it.each(broken.map((json) => [JSON.stringify(json), json]))('gives no untyped error for %s', async (_, json) => {
    const use = () => {
      const tokenizer = huggingFaceTokenizer(json as object);
      return tokenizer.decode(tokenizer.encode('It was a'));
    };
    try {
      use();
    } catch {
      await dataError('TOKENIZER', use);
    }
  });

  it.each([3, 'x', [], { bos_token: 3 }, { bos_token: { content: 3 } }, { add_bos_token: 'no' }, { pad_token: [] }])(
    'refuses the config %j',
    async (config) => {
      await dataError('TOKENIZER', () => huggingFaceTokenizer(wordLevel(), { config: config as object }));
    },
  );

  it.each([null, undefined, 3, [], {}, { kind: 'words' }, { kind: 'bytes' }, { kind: 'bytes', documentSeparator: 1 }])(
    'refuses the saved tokeniser %j',
    async (json) => {
      await dataError('TOKENIZER', () => tokenizerFromJSON(json as TokenizerJSON));
      const saved = { kind: 'tokenizer.json', name: 'x', tokenizer: json, config: null };
      await dataError('TOKENIZER', () =>
        tokenizerFromJSON({ ...saved, bosToken: null, eosToken: null, padToken: null } as unknown as TokenizerJSON),
      );
    },
  );
});

describe('text that is streamed behind a prompt', () => {
  const metaspace = { type: 'Metaspace', replacement: '\u2581', add_prefix_space: true, prepend_scheme: 'always' };
  const tokenizers: [string, Tokenizer][] = [
    [
      'WordPiece',
      huggingFaceTokenizer({
        model: {
          type: 'WordPiece',
          vocab: { '[UNK]': 0, It: 1, was: 2, the: 3, best: 4, '##ow': 5, '[SEP]': 6 },
          unk_token: '[UNK]',
          continuing_subword_prefix: '##',
        },
        added_tokens: [{ id: 6, content: '[SEP]', special: true }],
        pre_tokenizer: { type: 'Whitespace' },
        decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
      }),
    ],
    [
      'Metaspace (Unigram)',
      huggingFaceTokenizer({
        model: {
          type: 'Unigram',
          unk_id: 0,
          vocab: [
            ['<unk>', -9],
            ['\u2581It', -1],
            ['\u2581was', -1],
            ['\u2581the', -1],
            ['\u2581best', -1],
            ['ow', -2],
          ],
        },
        pre_tokenizer: metaspace,
        decoder: metaspace,
      }),
    ],
    [
      'SentencePiece-BPE',
      huggingFaceTokenizer({
        model: { type: 'BPE', vocab: sentencePieces(), merges: [], ignore_merges: true, byte_fallback: true },
        normalizer: {
          type: 'Sequence',
          normalizers: [
            { type: 'Prepend', prepend: '\u2581' },
            { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
          ],
        },
        pre_tokenizer: { type: 'Split', pattern: { Regex: '\u2581[a-zA-Z]+' }, behavior: 'Isolated', invert: false },
        decoder: {
          type: 'Sequence',
          decoders: [
            { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
            { type: 'ByteFallback' },
            { type: 'Fuse' },
            { type: 'Strip', content: ' ', start: 1, stop: 0 },
          ],
        },
      }),
    ],
  ];

  function sentencePieces(): Record<string, number> {
    const pieces = ['\u2581It', '\u2581was', '\u2581the', '\u2581best'];
    return Object.fromEntries(pieces.map((piece, id) => [piece, id]));
  }

  it.each(tokenizers)('keeps the space of its first token: %s', (_, tokenizer) => {
    const ids = [...tokenizer.encode('It was the best')];
    expect(ids).toHaveLength(4);
    for (const prompt of [1, 2, 3]) {
      const decoder = tokenizer.decoder(ids.slice(0, prompt));
      let text = tokenizer.decode(ids.slice(0, prompt));
      for (const id of ids.slice(prompt)) text += decoder.push(id);
      expect(text + decoder.flush()).toBe('It was the best');
    }
  });

  it('begins without a space when nothing but special tokens stands before it', () => {
    const [, wordPiece] = tokenizers[0]!;
    const decoder = wordPiece.decoder([6, 6, 6, 6, 6, 6]);
    expect(decoder.push(1) + decoder.push(2)).toBe('It was');
    const behind = wordPiece.decoder([1, 6, 6, 6, 6, 6, 6, 6, 6]);
    expect(behind.push(2)).toBe(' was');
  });

  it('completes a character that the prompt has begun', () => {
    const bytes = byteTokenizer();
    const whale = [...bytes.encode('\u{1f40b}')];
    const decoder = bytes.decoder(whale.slice(0, 3));
    expect(decoder.push(whale[3]!)).toBe('\u{1f40b}');
  });
});

describe('tokenizeCorpus', () => {
  it('stops within a document when told', async () => {
    const controller = new AbortController();
    const slow: Tokenizer = {
      ...byteTokenizer(),
      encode(text) {
        const end = performance.now() + 30;
        while (performance.now() < end);
        return new Int32Array(text.length);
      },
    };
    setTimeout(() => controller.abort(new Error('told')), 100);
    const start = performance.now();
    const work = tokenizeCorpus(textCorpus('one', ['x'.repeat(1 << 26)]), slow, { signal: controller.signal });
    await expect(work).rejects.toThrow('told');
    // 1,024 pieces of 30 ms: half a minute without looking.
    expect(performance.now() - start).toBeLessThan(15_000);
  });

  it('passes the signal on to the corpus', async () => {
    const { signal } = new AbortController();
    let given: AbortSignal | undefined;
    const corpus = textCorpus('one', ['some text']);
    await tokenizeCorpus(
      {
        ...corpus,
        pieces(options) {
          given = options?.signal;
          return corpus.pieces();
        },
      },
      byteTokenizer(),
      { signal },
    );
    expect(given).toBe(signal);
  });
});

it.each([null, 3, 'x', [], {}, { version: 1 }, { version: { toString: 1 } }])(
  'refuses the sampler state %j',
  async (state) => {
    const split = await wholeSplit(['some text that is long enough']);
    await dataError('SAMPLER_STATE', () =>
      createSampler(split, { context: 4, batch: 1, seed: 0, state: state as unknown as SamplerState }),
    );
  },
);

const limited = process.platform === 'linux';
it.skipIf(!limited)('loads and reads in 10 GB of address space (Linux has ulimit -v)', () => {
  const path = fileWith('a.parquet', parquet('SNAPPY'));
  const built = new URL('../dist/index.js', import.meta.url).href;
  const program = `
    const { openCorpus } = await import(${JSON.stringify(built)});
    let rows = 0;
    for await (const { last } of (await openCorpus(${JSON.stringify(path)})).pieces()) rows += last;
    for await (const { text } of (await openCorpus('moby-dick')).pieces()) rows += text.length > 0;
    console.log(rows);`;
  const command = `ulimit -v 10000000 && exec "$0" --input-type=module -e "$1"`;
  expect(execFileSync('bash', ['-c', command, process.execPath, program], { encoding: 'utf8' }).trim()).toBe('179');
});
