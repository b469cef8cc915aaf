import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BackendUnavailableError, DisposedError, ShapeError, UnsupportedError, ValueError } from '@lazy-attention/core';
import { CheckpointError, lazyAttentionLayer, lazyTransformer } from '@lazy-attention/nn';
import { saveCheckpoint } from '@lazy-attention/nn/node';
import { exportAttention, exportModel, exportOnnx, OnnxFileError, OnnxModel, readMetadata } from '@lazy-attention/onnx';
import proto from 'onnx-proto';
import * as ort from 'onnxruntime-node';
import { beforeAll, describe, expect, it } from 'vitest';
import { CONFIGS, inputs, largestDifference, setUp, trainedParams } from './common.ts';

const home = setUp();
const config = CONFIGS.grouped;
let checkpoint = '';
let file = '';

beforeAll(async () => {
  const { backend } = home;
  const params = await trainedParams(backend, config);
  checkpoint = await saveCheckpoint(home.path('run'), { model: lazyTransformer(config), params, step: 3 });
  file = home.path('model.onnx');
  await exportOnnx({ checkpoint, out: file, maxLength: 256 });
});

describe('the file', () => {
  it('has primitives of one opset only', async () => {
    const model = proto.onnx.ModelProto.decode(await readFile(file));
    expect(model.opsetImport.map(({ domain, version }) => [domain, Number(version)])).toEqual([['', 17]]);
    const ops = new Set(model.graph?.node?.map(({ opType, domain }) => `${domain}${opType}`));
    expect([...ops].sort()).toMatchInlineSnapshot(`
      [
        "Add",
        "And",
        "Cast",
        "Clip",
        "Concat",
        "Div",
        "Gather",
        "GreaterOrEqual",
        "MatMul",
        "Mul",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
      ]
    `);
  });

  it('has the ports that are documented', async () => {
    const session = await ort.InferenceSession.create(file);
    const ports = (all: readonly ort.InferenceSession.ValueMetadata[]) =>
      all.map((port) => `${port.name} ${port.isTensor ? `${port.type} [${port.shape.join(', ')}]` : ''}`);
    expect([...ports(session.inputMetadata), ...ports(session.outputMetadata)]).toMatchInlineSnapshot(`
      [
        "tokens int32 [batch, length]",
        "starts int32 [batch, length]",
        "past_key_values.0.key float32 [batch, 2, past, 16]",
        "past_key_values.0.value float32 [batch, 2, past, 16]",
        "past_key_values.1.key float32 [batch, 2, past, 16]",
        "past_key_values.1.value float32 [batch, 2, past, 16]",
        "logits float32 [batch, length, 256]",
        "present.0.key float32 [batch, 2, total, 16]",
        "present.0.value float32 [batch, 2, total, 16]",
        "present.1.key float32 [batch, 2, total, 16]",
        "present.1.value float32 [batch, 2, total, 16]",
      ]
    `);
    await session.release();
  });

  it('carries the config', async () => {
    expect(await readMetadata(file)).toEqual({
      kind: 'model',
      config: lazyTransformer(config).config,
      maxLength: 256,
      starts: true,
    });
  });

  it('passes the checker of the Python package', { timeout: 60_000 }, async (context) => {
    const python = process.env.LAZY_ATTENTION_PYTHON ?? 'python3';
    const run = (code: string, ...args: string[]) => promisify(execFile)(python, ['-c', code, ...args]);
    const found = await run('import onnx').then(
      () => true,
      () => false,
    );
    if (!found) context.skip(`${python} has no package 'onnx'; LAZY_ATTENTION_PYTHON names another`);
    const check = 'import onnx, sys; onnx.checker.check_model(sys.argv[1], full_check=True)';
    for (const opset of [17, 18, 19, 20]) {
      const out = home.path(`opset${opset}.onnx`);
      await exportOnnx({ checkpoint, out, opset, externalData: opset === 18 });
      await run(check, out);
    }
  });

  it('keeps weights in a file of their own when asked, with the same results', async () => {
    const out = home.path('external.onnx');
    const written = await exportOnnx({ checkpoint, out, externalData: true });
    expect(written.dataFile).toBe(`${out}.data`);
    expect((await stat(`${out}.data`)).size).toBe(written.dataBytes);
    expect(written.bytes).toBeLessThan(50_000);
    const { tokens, starts } = inputs(2, 9);
    const logits = [];
    for (const each of [file, out]) {
      const model = await OnnxModel.create({ file: each });
      logits.push(await model.forward(tokens, 2, { starts }));
      await model.dispose();
    }
    expect(logits[1]).toEqual(logits[0]);
  });

  it('is refused when a byte of graph, config or weights is not what was written', async () => {
    const out = home.path('digest.onnx');
    await exportOnnx({ checkpoint, out, externalData: true });
    const changed = async (path: string, change: (bytes: Buffer) => void) => {
      const bytes = await readFile(path);
      const whole = Buffer.from(bytes);
      change(bytes);
      await writeFile(path, bytes);
      const attempt = OnnxModel.create({ file: out });
      await expect(attempt).rejects.toThrow(OnnxFileError);
      await expect(attempt).rejects.toThrow(/is not what was written \(its SHA-256 differs\)/);
      await writeFile(path, whole);
    };
    const flip = (at: (bytes: Buffer) => number) => (bytes: Buffer) => {
      bytes[at(bytes)] ^= 1;
    };
    await changed(
      `${out}.data`,
      flip(() => 5000),
    );
    await changed(
      out,
      flip((bytes) => bytes.indexOf('layer.0/attention')),
    );
    await changed(
      out,
      flip((bytes) => bytes.indexOf('"normEpsilon":') + 17),
    );
    const model = await OnnxModel.create({ file: out });
    await model.dispose();
  });

  it('is refused where the walk through it would not end, or would leave its folder', async () => {
    const out = home.path('odd.onnx');
    await writeFile(out, Buffer.alloc(100_000, Buffer.of(8, 0)));
    await expect(readMetadata(out)).rejects.toThrow(/is no ONNX model, or truncated/);
    await expect(readMetadata(home.path('.'))).rejects.toThrow(/is no regular file/);
    await exportOnnx({ checkpoint, out: home.path('far.onnx'), externalData: true });
    const far = await readFile(home.path('far.onnx'));
    const name = Buffer.from('far.onnx.data');
    far.write('../x.onnxdata', far.lastIndexOf(name));
    await writeFile(out, far);
    await expect(readMetadata(out)).rejects.toThrow(/names '..\/x.onnxdata' as the file of its weights/);
  });

  it('can do without the input starts', async () => {
    const out = home.path('no-starts.onnx');
    await exportOnnx({ checkpoint, out, starts: false });
    const model = await OnnxModel.create({ file: out });
    const whole = await OnnxModel.create({ file });
    const { tokens } = inputs(1, 9);
    expect(largestDifference(await model.forward(tokens, 1), await whole.forward(tokens, 1))).toBeLessThan(1e-6);
    await expect(model.prefill([[1, 2], [1]])).rejects.toThrow(/no input 'starts'.*export it with starts: true/);
    await model.dispose();
    await whole.dispose();
  });
});

describe('the attention layer alone', () => {
  it('gives what the layer gives', async () => {
    const { backend } = home;
    const layer = lazyAttentionLayer({ hiddenSize: 32, numHeads: 4, numKvHeads: 2, window: 5 });
    const params = layer.init(backend, 5);
    const out = home.path('layer.onnx');
    await exportAttention({ config: layer.config, params, out });
    const [batch, length] = [2, 7];
    const x = Float32Array.from({ length: batch * length * 32 }, (_, i) => Math.sin(i * 1.7));
    const y = layer.forward(backend, params, backend.tensor(x, [batch, length, 32]));
    const session = await ort.InferenceSession.create(out);
    const empty = () => new ort.Tensor('float32', new Float32Array(0), [batch, 2, 0, 8]);
    const outputs = await session.run({
      hidden: new ort.Tensor('float32', x, [batch, length, 32]),
      starts: new ort.Tensor('int32', new Int32Array(batch * length), [batch, length]),
      'past_key_values.0.key': empty(),
      'past_key_values.0.value': empty(),
    });
    expect(outputs.output.dims).toEqual([batch, length, 32]);
    expect(outputs['present.0.key'].dims).toEqual([batch, 2, length, 8]);
    expect(largestDifference(outputs.output.data as Float32Array, await y.data())).toBeLessThan(1e-6);
    await session.release();
  });

  it('comes out of a checkpoint too, and is no model', async () => {
    const out = home.path('layer1.onnx');
    await exportOnnx({ checkpoint, attentionLayer: 1, out });
    expect(await readMetadata(out)).toMatchObject({ kind: 'attention', config: { numKvHeads: 2 } });
    await expect(OnnxModel.create({ file: out })).rejects.toThrow(/one attention layer, not a model/);
    await expect(exportOnnx({ checkpoint, attentionLayer: 2, out })).rejects.toThrow(/expected an integer from 0 to 1/);
  });
});

describe('what export refuses', () => {
  it('a checkpoint that is missing, corrupt or of an unknown kind, and leaves no file', async () => {
    const out = home.path('never.onnx');
    await expect(exportOnnx({ checkpoint: home.path('nowhere'), out })).rejects.toThrow(CheckpointError);
    const copy = home.path('copy');
    await cp(checkpoint, copy, { recursive: true });
    await truncate(join(copy, 'model.safetensors'), 1000);
    await expect(exportOnnx({ checkpoint: copy, out })).rejects.toThrow(CheckpointError);
    await writeFile(join(copy, 'config.json'), '{"architecture": "mamba"}');
    await expect(exportOnnx({ checkpoint: copy, out })).rejects.toThrow(CheckpointError);
    await expect(stat(out)).rejects.toThrow(/ENOENT/);
  });

  it.each([
    ['opset 16', { opset: 16 }, /opset is 16; expected 17 to 20/],
    ['a length of zero', { maxLength: 0 }, /maxLength is 0/],
    ['an unknown option', { fp16: true }, /unknown option 'fp16'/],
    ['a folder that does not exist', { out: '/no/such/folder/x.onnx' }, /the folder \/no\/such\/folder does not exist/],
  ])('%s', async (_, options, message) => {
    const attempt = exportOnnx({ checkpoint, out: home.path('never.onnx'), ...options });
    await expect(attempt).rejects.toThrow(ValueError);
    await expect(attempt).rejects.toThrow(message);
  });

  it('params of another model', async () => {
    const params = await trainedParams(home.backend, CONFIGS.softmax);
    const out = home.path('never.onnx');
    const dynamic = { ...CONFIGS.softmax, ropeScaling: { type: 'dynamic', factor: 2, originalContext: 8 } } as const;
    await expect(exportModel({ config: dynamic, params, out })).rejects.toThrow(UnsupportedError);
    await expect(exportModel({ config: dynamic, params, out })).rejects.toThrow(/ropeScaling.type is 'dynamic'/);
    const composed = { ...CONFIGS.softmax, attention: 'softpick' };
    await expect(exportModel({ config: composed, params, out })).rejects.toThrow(/attention is 'softpick'/);
    await expect(exportModel({ config: CONFIGS['elastic-only'], params, out })).rejects.toThrow(/no '.*attn\.tau'/);
    const wider = { ...CONFIGS.softmax, vocabSize: 300 };
    await expect(exportModel({ config: wider, params, out })).rejects.toThrow(ShapeError);
  });
});

describe('what OnnxModel refuses', () => {
  it('a file that is missing, no ONNX model, truncated, or not ours', async () => {
    await expect(OnnxModel.create({ file: home.path('nowhere.onnx') })).rejects.toThrow(/does not exist/);
    const text = home.path('text.onnx');
    await writeFile(text, 'call me ishmael');
    await expect(OnnxModel.create({ file: text })).rejects.toThrow(OnnxFileError);
    const short = home.path('short.onnx');
    await cp(file, short);
    await truncate(short, 2000);
    await expect(OnnxModel.create({ file: short })).rejects.toThrow(/no ONNX model, or truncated/);
    const foreign = home.path('foreign.onnx');
    const graph = { name: 'g', node: [], input: [], output: [] };
    await writeFile(foreign, proto.onnx.ModelProto.encode({ irVersion: 8, graph }).finish());
    await expect(OnnxModel.create({ file: foreign })).rejects.toThrow(/not one that lazy-attention exported/);
  });

  it('a graph that is not what its metadata says, though the digest is right', async () => {
    const bytes = await readFile(file);
    const { metadataProps } = proto.onnx.ModelProto.decode(bytes);
    const written = Object.fromEntries(metadataProps.map(({ key, value }) => [key as string, value as string]));
    const { 'lazy_attention.sha256': _, ...known } = written;
    const model = bytes.subarray(0, Number(known['lazy_attention.model_bytes']));
    const sealed = home.path('sealed.onnx');
    const seal = async (changed: Record<string, string>) => {
      const properties = { ...known, ...changed };
      const text = JSON.stringify(Object.entries(properties).sort());
      const sha256 = createHash('sha256').update(model).update(text).digest('hex');
      const props = Object.entries({ ...properties, 'lazy_attention.sha256': sha256 });
      const metadata = { metadataProps: props.map(([key, value]) => ({ key, value })) };
      await writeFile(sealed, Buffer.concat([model, proto.onnx.ModelProto.encode(metadata).finish()]));
    };
    const configOf = (changed: object) => JSON.stringify({ ...JSON.parse(known['lazy_attention.config']), ...changed });

    for (const changed of [
      { 'lazy_attention.starts': 'false' },
      { 'lazy_attention.config': configOf({ numLayers: 1 }) },
    ]) {
      await seal(changed);
      const error = await OnnxModel.create({ file: sealed }).catch((e) => e);
      expect(error).toBeInstanceOf(OnnxFileError);
      expect(error.message).toMatch(/has the inputs .*; its metadata tells of tokens/);
    }
    await seal({ 'lazy_attention.config': configOf({ vocabSize: 11 }) });
    const other = await OnnxModel.create({ file: sealed });
    await expect(other.forward(Int32Array.of(1, 2), 1)).rejects.toThrow(
      /gives logits of float32 .*; expected float32 and \[1, 2, 11\]/,
    );
    await other.dispose();
  });

  it('external weights that are gone', async () => {
    const out = home.path('apart.onnx');
    await exportOnnx({ checkpoint, out, externalData: true });
    await truncate(`${out}.data`, 100);
    await expect(OnnxModel.create({ file: out })).rejects.toThrow(/apart\.onnx\.data, which has 100 bytes; expected/);
    await rm(`${out}.data`);
    const error = await OnnxModel.create({ file: out }).catch((e) => e);
    expect(error).toBeInstanceOf(OnnxFileError);
    expect(error.message).toMatch(/apart\.onnx\.data, which does not exist/);
  });

  it('an unknown provider or option, and one that this build lacks', async () => {
    await expect(OnnxModel.create({ file, provider: 'tpu' as 'cpu' })).rejects.toThrow(
      /provider is "tpu"; expected cpu/,
    );
    await expect(OnnxModel.create({ file, threads: 2 } as { file: string })).rejects.toThrow(
      /unknown option 'threads'/,
    );
    const cuda = await OnnxModel.create({ file, provider: 'cuda' }).catch((error) => error);
    expect(cuda).toBeInstanceOf(BackendUnavailableError);
  });

  it('lengths beyond what the file takes, tokens outside the vocabulary, starts out of range', async () => {
    const model = await OnnxModel.create({ file });
    await expect(model.forward(new Int32Array(257), 1)).rejects.toThrow(/257 tokens.*at most 256/);
    const endless = model.generate([[1]], { maxNewTokens: 300 });
    await expect(endless.next()).rejects.toThrow(/300 tokens.*at most 256/);
    await expect(model.forward(Int32Array.of(1, 256), 1)).rejects.toThrow(/tokens holds 256 at element 1/);
    await expect(model.forward(Int32Array.of(1, 2, 3), 2)).rejects.toThrow(ShapeError);
    const starts = Int32Array.of(0, 2);
    await expect(model.forward(Int32Array.of(1, 2), 1, { starts })).rejects.toThrow(/starts holds 2 at element 1/);
    await expect(model.prefill([])).rejects.toThrow(/prompts is empty/);
    await expect(model.prefill([[1], []])).rejects.toThrow(/prompts\[1\] is empty/);
    const { cache } = await model.prefill([[1, 2]]);
    cache.dispose();
    await expect(model.decode(cache, Int32Array.of(1))).rejects.toThrow(DisposedError);
    await model.dispose();
    await expect(model.forward(Int32Array.of(1), 1)).rejects.toThrow(DisposedError);
  });
});

describe('generate', () => {
  it('stops rows at stop tokens, and repeats from a seed', async () => {
    const model = await OnnxModel.create({ file });
    const collect = async (seed: number, stopTokens: number[]) => {
      const steps: number[][] = [];
      for await (const step of model.generate([[5, 6], [9]], { maxNewTokens: 12, seed, stopTokens })) {
        steps.push([...step]);
      }
      return steps;
    };
    const free = await collect(1, []);
    expect(free).toHaveLength(12);
    expect(await collect(1, [])).toEqual(free);
    expect(await collect(2, [])).not.toEqual(free);
    const stop = free[4][0];
    const first = free.findIndex((step) => step[0] === stop);
    const stopped = await collect(1, [stop]);
    expect(stopped[first][0]).toBe(stop);
    expect(stopped.slice(first + 1).every((step) => step[0] === -1)).toBe(true);
    await model.dispose();
  });
});
