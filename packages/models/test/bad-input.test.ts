import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeSafetensors, encodeSafetensors, type HostTensor } from '@lazy-attention/nn';
import { afterAll, describe, expect, it } from 'vitest';
import { blobFiles, ModelError, openModelFiles } from '../src/index.ts';
import { openModel } from '../src/node.ts';
import { type Expected, fixture, logitsError, on, readFixture } from './helpers.ts';

const root = mkdtempSync(join(tmpdir(), 'models-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A copy of a fixture, changed. */
function changed(name: string, change: (folder: string) => void): string {
  const folder = mkdtempSync(join(root, 'case-'));
  cpSync(fixture(`hf/${name}`), folder, { recursive: true });
  change(folder);
  return folder;
}

const edit = (folder: string, file: string, fn: (json: Record<string, unknown>) => void) => {
  const json = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  fn(json);
  writeFileSync(join(folder, file), JSON.stringify(json));
};
const config = (values: Record<string, unknown>, name = 'llama') =>
  changed(name, (folder) => edit(folder, 'config.json', (json) => Object.assign(json, values)));
const weights = (fn: (tensors: Record<string, HostTensor>) => void, name = 'llama') =>
  changed(name, (folder) => {
    const path = join(folder, 'model.safetensors');
    const tensors = { ...decodeSafetensors(readFileSync(path)).tensors };
    fn(tensors);
    writeFileSync(path, encodeSafetensors(tensors));
  });
const INDEX = 'model.safetensors.index.json';
const SHARD = 'model-00001-of-00004.safetensors';
const index = (fn: (map: Record<string, string>) => void) =>
  changed('sharded', (folder) => edit(folder, INDEX, (json) => fn(json.weight_map as Record<string, string>)));
/** A shard that claims to be of another type. */
const retyped = (type: string) =>
  changed('sharded', (folder) => {
    const path = join(folder, SHARD);
    const old = readFileSync(path);
    const length = Number(old.readBigUInt64LE());
    const header = Buffer.from(old.toString('latin1', 8, 8 + length).replaceAll('"BF16"', `"${type}"`));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(path, Buffer.concat([size, header, old.subarray(8 + length)]));
  });
const bytes = (name: string, fn: (data: Buffer) => Uint8Array) => {
  const path = join(mkdtempSync(join(root, 'case-')), 'x.gguf');
  writeFileSync(path, fn(readFileSync(fixture(`gguf/${name}.gguf`))));
  return path;
};
/** GGUF's file with the first place where `from` stands after `name` replaced. */
const patched = (name: string, after: string, skip: number, value: number) =>
  bytes(name, (data) => {
    const at = data.indexOf(after) + after.length + skip;
    data.writeUInt32LE(value, at);
    return data;
  });

async function refusal(path: string): Promise<ModelError> {
  const error = await openModel(path).then(
    () => new Error('opened'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ModelError);
  return error as ModelError;
}

describe('a model that cannot be read is refused before anything is loaded', () => {
  it.each<[string, () => string, ModelError['code'], string[]]>([
    ['no such path', () => join(root, 'nowhere'), 'MODEL_MISSING', ['nowhere', 'no such file']],
    ['an empty folder', () => mkdtempSync(join(root, 'case-')), 'MODEL_MISSING', ['config.json']],
    [
      'a shard that is missing',
      () => changed('sharded', (folder) => rmSync(join(folder, SHARD))),
      'MODEL_MISSING',
      [SHARD, INDEX],
    ],
    [
      'a shard that is truncated',
      () =>
        changed('sharded', (folder) =>
          writeFileSync(join(folder, SHARD), readFileSync(join(folder, SHARD)).subarray(0, -8)),
        ),
      'MODEL_CORRUPT',
      [SHARD, 'truncated'],
    ],
    [
      'a tensor in two shards',
      () =>
        changed('sharded', (folder) => {
          cpSync(join(folder, SHARD), join(folder, 'again.safetensors'));
          edit(folder, INDEX, (json) => Object.assign(json.weight_map as object, { more: 'again.safetensors' }));
        }),
      'MODEL_TENSORS',
      ['again.safetensors', 'has too'],
    ],
    [
      'an index that leaves the folder',
      () => index((map) => Object.assign(map, { x: '../model.safetensors' })),
      'MODEL_CORRUPT',
      ['../model.safetensors', 'outside'],
    ],
    [
      'an index of tensors that are nowhere',
      () => index((map) => Object.assign(map, { x: SHARD })),
      'MODEL_TENSORS',
      ['x', 'no shard'],
    ],
    [
      'an index that forgets a tensor',
      () => index((map) => delete map['model.norm.weight']),
      'MODEL_TENSORS',
      ['model.norm.weight', 'does not list'],
    ],
    [
      'a tensor that is missing',
      () => weights((all) => delete all['model.norm.weight']),
      'MODEL_TENSORS',
      ['lacks', 'model.norm.weight'],
    ],
    [
      'a tensor that is unknown',
      () => weights((all) => Object.assign(all, { 'model.layers.0.self_attn.rel.weight': all['model.norm.weight'] })),
      'MODEL_TENSORS',
      ['no place for', 'self_attn.rel.weight'],
    ],
    [
      'a shape that the configuration does not say',
      () => config({ intermediate_size: 41 }),
      'MODEL_TENSORS',
      ['mlp.gate_proj.weight', '[40, 24]', '[41, 24]'],
    ],
    [
      'an unknown architecture',
      () => config({ model_type: 'gpt2' }),
      'MODEL_UNSUPPORTED',
      ['model_type', 'gpt2', 'llama'],
    ],
    ['another activation', () => config({ hidden_act: 'gelu' }), 'MODEL_UNSUPPORTED', ['hidden_act', 'gelu', 'silu']],
    ['experts', () => config({ num_local_experts: 8 }), 'MODEL_UNSUPPORTED', ['num_local_experts', '8']],
    [
      'another quantisation',
      () => config({ quantization_config: { bits: 4 } }),
      'MODEL_UNSUPPORTED',
      ['quantization_config'],
    ],
    [
      'another rope',
      () => config({ rope_parameters: { rope_type: 'longrope' } }),
      'MODEL_UNSUPPORTED',
      ['rope_type', 'longrope', 'yarn'],
    ],
    [
      'half of a rope',
      () => config({ rope_parameters: { rope_type: 'linear' } }),
      'MODEL_CONFIG',
      ['rope_parameters.factor', 'missing'],
    ],
    [
      'a rope that is said twice, differently',
      () => config({ rope_scaling: { rope_type: 'linear', factor: 2 } }),
      'MODEL_CONFIG',
      ['rope_parameters', 'rope_scaling', 'leave one'],
    ],
    [
      'a rope for each type of layer',
      () => config({ rope_parameters: { full_attention: { rope_type: 'linear', factor: 2, rope_theta: 5 } } }),
      'MODEL_UNSUPPORTED',
      ['rope_parameters.full_attention', 'supported are rope_type'],
    ],
    ['a rope that is a list', () => config({ rope_parameters: [] }), 'MODEL_CONFIG', ['rope_parameters', 'array']],
    ['a size that is none', () => config({ hidden_size: -1 }), 'MODEL_CONFIG', ['hidden_size']],
    ['a size of another type', () => config({ num_hidden_layers: '2' }), 'MODEL_CONFIG', ['num_hidden_layers']],
    ['heads that do not divide', () => config({ num_key_value_heads: 3 }), 'MODEL_UNSUPPORTED', ['numKvHeads']],
    [
      'pickle files',
      () =>
        changed('llama', (folder) => {
          rmSync(join(folder, 'model.safetensors'));
          writeFileSync(join(folder, 'pytorch_model.bin'), 'x');
        }),
      'MODEL_UNSUPPORTED',
      ['pytorch_model.bin', 'pickle', 'save_pretrained'],
    ],
    [
      'a pickle alone',
      () => {
        const path = join(mkdtempSync(join(root, 'case-')), 'model.pt');
        writeFileSync(path, 'x');
        return path;
      },
      'MODEL_UNSUPPORTED',
      ['model.pt', 'pickle', 'save_pretrained'],
    ],
    ['a shard of another type', () => retyped('F8_E4M3'), 'MODEL_CORRUPT', [SHARD, 'F8_E4M3', 'supported are F32']],
    ['a shard whose type does not fit its bytes', () => retyped('F64'), 'MODEL_CORRUPT', [SHARD, 'f64 needs']],
    [
      'a configuration that is no JSON',
      () => changed('llama', (folder) => writeFileSync(join(folder, 'config.json'), '{')),
      'MODEL_CORRUPT',
      ['config.json'],
    ],
    [
      'a tokenizer with more ids than the model',
      () => changed('llama', (folder) => writeFileSync(join(folder, 'tokenizer.json'), tokenizer(41))),
      'MODEL_TOKENIZER',
      ['41', '40'],
    ],
    [
      'a tied head that differs',
      () => config({ tie_word_embeddings: true }),
      'MODEL_TENSORS',
      ['lm_head.weight', 'tie_word_embeddings'],
    ],
    ['a GGUF of another version', () => patched('llama-f16', 'GGUF', 0, 9), 'MODEL_UNSUPPORTED', ['version', '9']],
    ['a GGUF of version 1', () => patched('llama-f16', 'GGUF', 0, 1), 'MODEL_UNSUPPORTED', ['version 1']],
    [
      'a quantisation that is not known',
      () => patched('llama-f16', 'blk.0.attn_v.weight', 20, 16),
      'MODEL_UNSUPPORTED',
      ['attn_v', 'IQ2_XXS', 'Q4_K'],
    ],
    [
      'a GGUF cut in its tensors',
      () => bytes('llama-f16', (data) => data.subarray(0, -64)),
      'MODEL_CORRUPT',
      ['truncated'],
    ],
    ['a GGUF cut in its header', () => bytes('llama-f16', (data) => data.subarray(0, 300)), 'MODEL_CORRUPT', []],
    ['a GGUF that is something else', () => bytes('llama-f16', () => Buffer.from('hello')), 'MODEL_CORRUPT', ['GGUF']],
    ['a GGUF of a tokenizer alone', () => fixture('gguf/tokenizer-llama.gguf'), 'MODEL_CONFIG', ['block_count']],
  ])('%s', async (_, make, code, words) => {
    const error = await refusal(make());
    expect(error.code).toBe(code);
    for (const word of words) expect(error.message).toContain(word);
  });
});

describe('weights that are no numbers', () => {
  it.each([
    ['model.norm.weight', 'llama', 'dense'],
    ['model.layers.0.attn.k_proj.weight', 'fla', 'bf16'],
  ] as const)('are told by file and name when %s of %s is loaded %s', async (name, folder, how) => {
    const path = weights((all) => {
      const { [name]: tensor } = all;
      all[name] = { ...tensor, data: Float32Array.from(tensor.data, (x, i) => (i === 3 ? Number.NaN : x)) };
    }, folder);
    const opened = await openModel(path);
    const error = await on('reference', async (backend) => {
      const thrown = await opened.load(backend, { weights: how }).catch((caught: unknown) => caught);
      expect(backend.memory().tensors).toBe(0);
      return thrown;
    });
    await opened.close();
    expect(error).toMatchObject({
      code: 'MODEL_CORRUPT',
      message: expect.stringMatching(new RegExp(`model\\.safetensors.*${name}.*NaN`)),
    });
  });
});

describe('a model in a browser', () => {
  it('opens from Blobs', async () => {
    const blob = (file: string) => new Blob([readFileSync(fixture(`hf/llama/${file}`))]);
    const opened = await openModelFiles(
      blobFiles({ 'config.json': blob('config.json'), 'model.safetensors': blob('model.safetensors') }),
    );
    const error = await on('reference', async (backend) =>
      logitsError(backend, await opened.load(backend), readFixture<Expected>('hf/llama/expected.json')),
    );
    expect(error).toBeLessThan(1e-5);
    const gguf = await openModelFiles(
      blobFiles({ 'x.gguf': new Blob([readFileSync(fixture('gguf/llama-f16.gguf'))]) }),
    );
    expect(gguf.format).toBe('gguf');
  });
});

/** Word-level: as many ids as wanted. */
function tokenizer(size: number): string {
  const vocab = Object.fromEntries(Array.from({ length: size }, (_, id) => [`w${id}`, id]));
  return JSON.stringify({ added_tokens: [], model: { type: 'WordLevel', vocab, unk_token: 'w0' } });
}
