import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createBackend, type TensorData } from '@lazy-attention/core';
import { encodeSafetensors, lazyTransformer } from '@lazy-attention/nn';
import { beforeAll, describe, expect, it } from 'vitest';
import { lines, run, start, temporary } from './helpers.ts';

const TOKENIZER = fileURLToPath(new URL('../../../packages/data/test/fixtures/byte-level.json', import.meta.url));
const NAMES: readonly (readonly [string, string])[] = [
  ['model.embeddings.weight', 'model.embed_tokens.weight'],
  ['attn_norm', 'input_layernorm'],
  ['mlp_norm', 'post_attention_layernorm'],
  ['.attn.', '.self_attn.'],
];

/** A random model in Hugging Face's layout, of the size of a test. */
async function writeModel(folder: string): Promise<void> {
  const tokenizer = readFileSync(TOKENIZER, 'utf8');
  const { vocab } = JSON.parse(tokenizer).model as { vocab: Record<string, number> };
  const vocabSize = Math.max(...Object.values(vocab)) + 20;
  const model = lazyTransformer({
    vocabSize,
    hiddenSize: 16,
    numLayers: 1,
    numHeads: 2,
    context: 64,
    attention: 'softmax',
    tieEmbeddings: true,
    intermediateSize: 32,
  });
  const backend = await createBackend('reference');
  const params = model.init(backend, 5, {});
  const tensors: Record<string, { dtype: 'f32'; shape: readonly number[]; data: TensorData }> = {};
  for (const [name, tensor] of Object.entries(params)) {
    const renamed = NAMES.reduce((text, [from, to]) => text.replace(from, to), name);
    tensors[renamed] = { dtype: 'f32', shape: tensor.shape, data: Float32Array.from(await tensor.data()) };
  }
  await backend.dispose();
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.safetensors'), encodeSafetensors(tensors));
  writeFileSync(join(folder, 'tokenizer.json'), tokenizer);
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      hidden_size: 16,
      intermediate_size: 32,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      vocab_size: vocabSize,
      max_position_embeddings: 64,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      tie_word_embeddings: true,
      hidden_act: 'silu',
      torch_dtype: 'float32',
    }),
  );
}

let model: string;
let data: string;
beforeAll(async () => {
  const { mkdtempSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  const folder = mkdtempSync(join(tmpdir(), 'lazy-scoring-'));
  model = join(folder, 'model');
  data = join(folder, 'items');
  await writeModel(model);
  mkdirSync(join(data, 'piqa'), { recursive: true });
  const items = Array.from({ length: 6 }, (_, i) => ({
    goal: `Open ${i}`,
    sol1: 'push',
    sol2: `pull ${i}`,
    label: i % 2,
  }));
  writeFileSync(join(data, 'piqa', 'validation.jsonl'), items.map((item) => `${JSON.stringify(item)}\n`).join(''));
});

describe('lazy-attention score', () => {
  it('answers each line in order, with the tokens when they are asked for', async () => {
    const requests = join(temporary(), 'requests.jsonl');
    const asked = [
      { context: 'Open', continuation: ' the door' },
      { context: [1, 2], continuation: [3] },
      { text: 'a door and a window' },
      { ids: [4, 5, 6] },
    ];
    writeFileSync(requests, asked.map((one) => JSON.stringify(one)).join('\n'));
    const { code, stdout, stderr } = await run(
      'score',
      model,
      requests,
      '--json',
      '--tokens',
      '--backend',
      'reference',
      '--batch-tokens',
      '8',
    );
    expect([code, stderr]).toEqual([0, '']);
    const answers = lines(stdout).map((line) => JSON.parse(line));
    expect(answers).toHaveLength(4);
    for (const answer of answers) {
      expect(answer.ids).toHaveLength(answer.tokens);
      expect(answer.logProbabilities.reduce((a: number, b: number) => a + b)).toBeCloseTo(answer.logProbability, 6);
    }
    expect(answers[1].ids).toEqual([3]);
    expect(answers[3].ids).toEqual([4, 5, 6]);
    const plain = await run('score', model, requests, '--json', '--backend', 'reference');
    expect(Object.keys(JSON.parse(lines(plain.stdout)[0] as string))).toEqual(['logProbability', 'tokens', 'isGreedy']);
  });

  it.each([
    ['{"context":"a"}', 'line 1'],
    ['{"context":"a","continuation":""}', 'the continuation'],
    ['{"context":[99999],"continuation":[1]}', 'not in the vocabulary'],
    ['nonsense', 'is not JSON'],
  ])('refuses %s', async (line, message) => {
    const requests = join(temporary(), 'requests.jsonl');
    writeFileSync(requests, `${line}\n`);
    const { code, stdout, stderr } = await run('score', model, requests, '--json', '--backend', 'reference');
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
  });

  it('scores ids with a model that has no tokenizer, and says what text needs', async () => {
    const bare = join(temporary(), 'bare');
    cpSync(model, bare, { recursive: true });
    rmSync(join(bare, 'tokenizer.json'));
    const requests = join(temporary(), 'requests.jsonl');
    writeFileSync(requests, '{"context":[1,2],"continuation":[3]}\n');
    const [own, other] = [
      await run('score', bare, requests, '--json', '--backend', 'reference'),
      await run('score', model, requests, '--json', '--backend', 'reference'),
    ];
    expect(own).toEqual(other);
    expect(own.code).toBe(0);
    writeFileSync(requests, '{"text":"a door"}\n');
    const { code, stderr } = await run('score', bare, requests, '--json', '--backend', 'reference');
    expect(code).toBe(2);
    expect(stderr).toContain('has no tokenizer; give ids');
  });

  it.each(['score', 'benchmark', 'inspect'])('%s refuses a context longer than that of the model', async (command) => {
    const requests = join(temporary(), 'requests.jsonl');
    writeFileSync(requests, '{"context":[1,2],"continuation":[3]}\n');
    const rest = { score: [requests], benchmark: ['--data', data, '--tasks', 'piqa'], inspect: ['--prompt', 'Open'] };
    const more = rest[command as keyof typeof rest];
    const { code, stdout, stderr } = await run(command, model, ...more, '--context', '65', '--backend', 'reference');
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`${command}: --context is 65; the model takes 64 tokens at most`);
  });

  it.each<[string, Uint8Array, string]>([
    ['no UTF-8', Buffer.from('{"text":"caf\xe9"}', 'latin1'), 'DATA_NOT_TEXT'],
    ['a byte that text lacks', Buffer.alloc(1000), 'DATA_NOT_TEXT'],
  ])('refuses requests with %s, and replaces nothing', async (_, bytes, code) => {
    const requests = join(temporary(), 'requests.jsonl');
    writeFileSync(requests, bytes);
    const refused = await run('score', model, requests, '--backend', 'reference');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`error [${code}] ${requests}`);
  });

  it('reads requests behind a byte order mark', async () => {
    const requests = join(temporary(), 'requests.jsonl');
    writeFileSync(requests, '\ufeff{"ids":[1,2,3]}\r\n');
    const { code, stdout } = await run('score', model, requests, '--backend', 'reference', '--json');
    expect([code, JSON.parse(stdout).tokens]).toEqual([0, 3]);
  });

  it('says that a file cannot be read', async () => {
    const { code, stderr } = await run('score', model, '/nowhere/requests.jsonl', '--backend', 'reference');
    expect(code).not.toBe(0);
    expect(stderr).toContain('/nowhere/requests.jsonl cannot be read');
  });
});

describe('lazy-attention benchmark', () => {
  const args = () => ['benchmark', model, '--data', data, '--tasks', 'piqa', '--backend', 'reference'];

  it('gives results in the layout of lm-eval, and a line per item', async () => {
    const samples = join(temporary(), 'samples.jsonl');
    const { code, stdout } = await run(...args(), '--json', '--samples', samples, '--few-shot', '2');
    expect(code).toBe(0);
    const result = JSON.parse(stdout);
    expect(result.results.piqa).toMatchObject({ alias: 'piqa' });
    expect(result.results.piqa['acc,none']).toBeGreaterThanOrEqual(0);
    expect(result['n-samples'].piqa).toEqual({ original: 6, effective: 6 });
    const items = lines(readFileSync(samples, 'utf8')).map((line) => JSON.parse(line));
    expect(items.map(({ doc_id }) => doc_id)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(items.map(({ target }) => target)).toEqual([0, 1, 0, 1, 0, 1]);
  });

  it('goes on from its samples, and refuses those of something else', async () => {
    const samples = join(temporary(), 'samples.jsonl');
    const whole = await run(...args(), '--json', '--samples', samples);
    const text = readFileSync(samples, 'utf8');
    const cut = text.split('\n').slice(0, 3).join('\n').concat('\n{"task":"pi');
    writeFileSync(samples, cut);
    const resumed = await run(...args(), '--json', '--samples', samples);
    expect(JSON.parse(resumed.stdout).results).toEqual(JSON.parse(whole.stdout).results);
    expect(readFileSync(samples, 'utf8')).toBe(text);
    const other = await run(...args(), '--samples', samples, '--few-shot', '1');
    expect(other.code).not.toBe(0);
    expect(other.stderr).toContain('name another file with --samples');
    expect(readFileSync(samples, 'utf8')).toBe(text);
    // What changes the log-likelihoods would be mixed in silence: other items, another context.
    const items = join(data, 'piqa', 'validation.jsonl');
    const before = readFileSync(items, 'utf8');
    writeFileSync(items, before.replace('Open 4', 'Shut 4'));
    const changed = await run(...args(), '--samples', samples);
    writeFileSync(items, before);
    const shorter = await run(...args(), '--samples', samples, '--context', '40');
    for (const { code, stderr } of [changed, shorter]) {
      expect(code).toBe(2);
      expect(stderr).toContain('from other items, or with another --context');
    }
    expect(readFileSync(samples, 'utf8')).toBe(text);
  });

  it('prints its results though nobody reads its progress', async () => {
    const { child, done } = start([...args(), '--json']);
    child.stderr?.destroy();
    const { code, stdout } = await done;
    expect(code).toBe(0);
    expect(JSON.parse(stdout).results.piqa).toBeDefined();
  });

  it.each(['my notes, a line without an end', '{"mine":1}', 'two lines\nof notes'])(
    'leaves a file of somebody else as it is: %j',
    async (notes) => {
      const samples = join(temporary(), 'notes.txt');
      writeFileSync(samples, notes);
      const { code, stderr } = await run(...args(), '--samples', samples);
      expect(code).toBe(2);
      expect(stderr).toContain('name another file with --samples');
      expect(readFileSync(samples, 'utf8')).toBe(notes);
    },
  );

  it.each([
    [['--tasks', 'chess'], 'chess'],
    [['--data', '/nowhere'], 'no items of piqa'],
    [['--limit', '0'], '--limit'],
  ])('refuses %j', async (wrong, message) => {
    const { code, stderr } = await run(...args(), ...wrong);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });
});
