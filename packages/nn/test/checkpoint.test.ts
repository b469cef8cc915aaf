import { execFileSync, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import promises, {
  cp,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Backend, Tensor } from '@lazy-attention/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  adamW,
  batchTensors,
  CheckpointError,
  cosineSchedule,
  decodeSafetensors,
  disposeParams,
  encodeSafetensors,
  lazyTransformer,
  type Params,
  preset,
  valueAndGrad,
} from '../src/index.ts';
import {
  checkpointState,
  type Json,
  latestCheckpoint,
  listCheckpoints,
  loadCheckpoint,
  loadParams,
  saveCheckpoint,
  saveParams,
} from '../src/node.ts';
import { numbers, reference, scalar } from './helpers.ts';

let backend: Backend;
let folder: string;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lazy-attention-nn-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const model = lazyTransformer(preset('pico', { numLayers: 1, hiddenSize: 16, context: 16, vocabSize: 8 }));

/** A run whose data is a pure function of the step. */
function startRun(params: Params, state?: Parameters<typeof adamW>[2]) {
  const optimizer = adamW(backend, params, state);
  const rate = cosineSchedule({ peak: 1e-2, warmupSteps: 3, steps: 12 });
  const lossAndGrads = valueAndGrad(backend, model.loss);
  return {
    optimizer,
    async step(): Promise<number> {
      const n = optimizer.steps + 1;
      const tokens = Int32Array.from({ length: 16 }, (_, i) => (i * n + n) % 8);
      const batch = batchTensors(backend, { tokens, targets: tokens.toReversed(), starts: null, batch: 1, length: 16 });
      const { value, grads } = lossAndGrads(params, batch);
      optimizer.step(grads, rate(n)).gradNormSquared.dispose();
      const loss = await scalar(value);
      for (const tensor of [value, batch.tokens, batch.targets]) tensor.dispose();
      disposeParams(grads);
      return loss;
    },
  };
}

async function save(step = 0, extra: object = {}): Promise<string> {
  const params = model.init(backend, 1 + step);
  const optimizer = adamW(backend, params);
  const path = await saveCheckpoint(folder, { model, params, optimizer, step, ...extra });
  optimizer.dispose();
  disposeParams(params);
  return path;
}

/** From the `last`-th file operation on every one fails, clearing up too, as if the process had died there. */
async function dieAfter(last: number): Promise<{ restore: () => void; died: () => boolean }> {
  const handle = await open(join(folder, 'probe'), 'w');
  await handle.close();
  await rm(join(folder, 'probe'));
  let count = 0;
  const spy = <T extends object>(target: T, name: keyof T) => {
    const original = target[name] as (...args: unknown[]) => Promise<unknown>;
    target[name] = function (this: unknown, ...args: unknown[]) {
      if (count++ >= last)
        return Promise.reject(Object.assign(new Error('died'), { code: 'EIO', syscall: String(name) }));
      return original.apply(this, args);
    } as T[keyof T];
    return () => {
      target[name] = original as T[keyof T];
    };
  };
  const undo = [
    ...(['open', 'mkdir', 'rename', 'rm', 'readdir'] as const).map((name) => spy(promises, name)),
    ...(['writeFile', 'sync'] as const).map((name) => spy(Object.getPrototypeOf(handle) as typeof handle, name)),
  ];
  syncBuiltinESMExports();
  return {
    restore() {
      for (const fn of undo) fn();
      syncBuiltinESMExports();
    },
    died: () => count > last,
  };
}

/** Rejects with this code, names this file, and leaves nothing alive on the backend. */
async function expectRefusal(promise: () => Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const before = backend.memory().tensors;
  const error = await promise().then(
    () => null,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(CheckpointError);
  expect((error as CheckpointError).code).toBe(code);
  expect((error as CheckpointError).message).toMatch(message);
  expect(backend.memory().tensors).toBe(before);
}

describe('a resumed run', () => {
  it('has exactly the losses of one that never stopped', async () => {
    const whole = startRun(model.init(backend, 1));
    const expected: number[] = [];
    for (let n = 0; n < 12; n++) expected.push(await whole.step());

    const params = model.init(backend, 1);
    const first = startRun(params);
    const losses: number[] = [];
    for (let n = 0; n < 5; n++) losses.push(await first.step());
    const state = { sampler: { epoch: 1, window: 7 }, note: ['x', null, true] };
    const path = await saveCheckpoint(folder, { model, params, optimizer: first.optimizer, step: 5, state });

    const loaded = await loadCheckpoint(backend, path, { model });
    expect(loaded).toMatchObject({ step: 5, state, config: model.config });
    expect(Object.keys(loaded.params)).toEqual(Object.keys(params));
    const second = startRun(loaded.params, { state: loaded.optimizer ?? undefined });
    for (let n = 5; n < 12; n++) losses.push(await second.step());
    expect(losses).toEqual(expected);
  });

  it.each(['f32', 'f64'] as const)('finds every bit of %s parameters again', async (dtype) => {
    const params = model.init(backend, 3, { dtype });
    const path = await saveCheckpoint(folder, { model, params, step: 1 });
    const loaded = await loadCheckpoint(backend, path);
    expect(loaded.optimizer).toBeNull();
    expect(loaded.state).toBeNull();
    for (const [name, tensor] of Object.entries(params)) {
      expect(loaded.params[name].dtype).toBe(dtype);
      expect(await numbers(loaded.params[name])).toEqual(await numbers(tensor));
    }
  });

  it('leaves the optimiser on the disk when it is not wanted', async () => {
    const path = await save();
    await rm(join(path, 'optimizer.safetensors'));
    expect((await loadCheckpoint(backend, path, { optimizer: false })).optimizer).toBeNull();
    await expectRefusal(() => loadCheckpoint(backend, path), 'CHECKPOINT_MISSING', /optimizer\.safetensors/);
  });
});

describe('the folder', () => {
  it('keeps the newest checkpoints and finds the last', async () => {
    expect(await latestCheckpoint(join(folder, 'none'))).toBeNull();
    expect(await listCheckpoints(folder)).toEqual([]);
    for (const step of [1, 2, 10, 100]) await save(step);
    expect(await listCheckpoints(folder)).toEqual([join(folder, 'step-00000010'), join(folder, 'step-00000100')]);
    await save(123456789, { keep: 1 });
    expect(await readdir(folder)).toEqual(['step-123456789']);
  });

  it('replaces a step that is saved again', async () => {
    await save(3, { state: 'a' });
    const path = await save(3, { state: 'b' });
    expect(await listCheckpoints(folder)).toEqual([path]);
    expect((await loadCheckpoint(backend, path)).state).toBe('b');
    await save(3, { state: 'c' });
    expect((await loadCheckpoint(backend, (await latestCheckpoint(folder)) as string)).state).toBe('c');
  });

  it('clears away what a killed process left', async () => {
    await cp(await save(1), join(folder, '.tmp-step-00000002'), { recursive: true });
    await save(3);
    expect(await readdir(folder)).toEqual(['step-00000001', 'step-00000003']);
  });

  it('leaves a folder alone that holds a file of somebody else, and what a link leads to', async () => {
    const notes = join(await save(1), 'notes.txt');
    await writeFile(notes, 'precious');
    const elsewhere = await mkdtemp(join(tmpdir(), 'lazy-attention-nn-'));
    await writeFile(join(elsewhere, 'config.json'), 'precious');
    await symlink(elsewhere, join(folder, 'step-00000000'));
    await symlink(elsewhere, join(folder, '.tmp-step-00000000'));
    await mkdir(join(folder, '.tmp-mine'));
    await writeFile(join(folder, '.tmp-mine', 'draft.txt'), 'precious');
    for (const step of [2, 3, 4]) await save(step, { keep: 1 });
    for (const path of [notes, join(elsewhere, 'config.json'), join(folder, '.tmp-mine', 'draft.txt')]) {
      expect(await readFile(path, 'utf8')).toBe('precious');
    }
    expect(await listCheckpoints(folder)).toEqual(
      ['step-00000000', 'step-00000001', 'step-00000004'].map((name) => join(folder, name)),
    );
    await rm(elsewhere, { recursive: true });
  });

  it('names the newest whole checkpoint before a damaged one', async () => {
    for (const step of [1, 2, 3]) await save(step, { keep: 3 });
    const [first, second, third] = await listCheckpoints(folder);
    for (const path of [second, third]) await truncate(join(path, 'model.safetensors'), 100);
    await expect(loadCheckpoint(backend, third)).rejects.toThrow(
      /step-00000001 before it is whole: move .*step-00000003/,
    );
    await truncate(join(third, 'checkpoint.json'), 20);
    for (const read of [() => checkpointState(third), () => loadCheckpoint(backend, third)]) {
      await expect(read()).rejects.toThrow(/step-00000001 before it is whole/);
    }
    await truncate(join(first, 'model.safetensors'), 100);
    await expect(loadCheckpoint(backend, third)).rejects.not.toThrow(/before it is whole/);
  });

  it('refuses a pipe, which would never end', async () => {
    const path = await save(1);
    for (const file of ['model.safetensors', 'checkpoint.json']) {
      await rm(join(path, file));
      execFileSync('mkfifo', [join(path, file)]);
      await expect(loadCheckpoint(backend, path)).rejects.toThrow(/no regular file/);
    }
  });

  it('holds a whole checkpoint whichever file operation is the last', async () => {
    let step = 1;
    await save(step);
    for (let last = 0; ; last++) {
      const { restore, died } = await dieAfter(last);
      await save(++step, { keep: 1 }).catch(() => {});
      restore();
      const found = await listCheckpoints(folder);
      expect(found.length).toBeGreaterThan(0);
      for (const path of found) {
        const { params, optimizer, step: loaded } = await loadCheckpoint(backend, path);
        expect([step - 1, step]).toContain(loaded);
        for (const tensors of [params, optimizer?.m, optimizer?.v]) disposeParams(tensors ?? {});
      }
      if (!died()) {
        expect(last).toBeGreaterThan(20);
        break;
      }
      await rm(folder, { recursive: true });
      await save(step);
    }
  });

  it('holds a whole checkpoint whenever a process is killed', { timeout: 60_000 }, async () => {
    let newest = -1;
    for (let round = 0; round < 3; round++) {
      const saver = fork(fileURLToPath(new URL('saver.mjs', import.meta.url)), [folder, String(newest + 1)]);
      await new Promise((resolve) => saver.once('message', resolve)); // one is saved; the next is being
      await new Promise((resolve) => setTimeout(resolve, 30 * round));
      const gone = new Promise((resolve) => saver.once('exit', resolve));
      saver.kill('SIGKILL');
      await gone;
      const path = (await latestCheckpoint(folder)) as string;
      const { step, state, params } = await loadCheckpoint(backend, path);
      expect(step).toBeGreaterThan(newest);
      expect(state).toEqual({ seed: step });
      disposeParams(params);
      newest = step;
    }
  });
});

describe('a checkpoint that is not what was saved', () => {
  const files = ['model.safetensors', 'optimizer.safetensors', 'config.json', 'checkpoint.json'];

  it.each(files)('is refused when %s is missing', async (file) => {
    const path = await save();
    await rm(join(path, file));
    await expectRefusal(() => loadCheckpoint(backend, path), 'CHECKPOINT_MISSING', new RegExp(`${file}: no such file`));
  });

  it.each(files)('is refused when %s is truncated, at any length', async (file) => {
    const path = await save();
    const { size } = await stat(join(path, file));
    for (const share of [0.99, 0.5, 0.01, 0]) {
      await truncate(join(path, file), Math.floor(size * share));
      const message = file.endsWith('safetensors')
        ? `has \\d+ bytes; ${size} were written; it is truncated`
        : 'damaged';
      await expectRefusal(
        () => loadCheckpoint(backend, path),
        'CHECKPOINT_CORRUPT',
        new RegExp(`${file}: .*${message}`),
      );
    }
  });

  it.each(files)('is refused when any one bit of %s is flipped', async (file) => {
    const path = await save();
    const bytes = await readFile(join(path, file));
    for (let i = 0; i < 12; i++) {
      const damaged = Uint8Array.from(bytes);
      damaged[Math.floor(((i + 0.5) / 12) * bytes.length)] ^= 1 << (i % 7);
      await writeFile(join(path, file), damaged);
      const error = await loadCheckpoint(backend, path).then(
        (loaded) => loaded,
        (error: unknown) => error,
      );
      expect(error).toBeInstanceOf(CheckpointError);
    }
    await writeFile(join(path, file), bytes);
    disposeParams((await loadCheckpoint(backend, path)).params);
  });

  it('is refused from a newer format', async () => {
    const path = await save();
    const manifest = JSON.parse(await readFile(join(path, 'checkpoint.json'), 'utf8'));
    await writeFile(join(path, 'checkpoint.json'), JSON.stringify({ ...manifest, version: 2 }));
    await expectRefusal(
      () => loadCheckpoint(backend, path),
      'CHECKPOINT_VERSION',
      /has format version 2; this program reads up to 1; update @lazy-attention\/nn/,
    );
  });

  it('is refused with a version that is none, and no text either', async () => {
    const path = await save();
    const manifest = JSON.parse(await readFile(join(path, 'checkpoint.json'), 'utf8'));
    for (const version of [{ toString: 1 }, null, 'one', 1.5]) {
      await writeFile(join(path, 'checkpoint.json'), JSON.stringify({ ...manifest, version }));
      await expectRefusal(
        () => loadCheckpoint(backend, path),
        'CHECKPOINT_CORRUPT',
        /has version .*; expected an integer/,
      );
    }
  });

  // Digests that are right say nothing of who computed them.
  describe('with digests that are right is refused all the same', () => {
    const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    const seal = async (path: string, changed: object) => {
      const { sha256: _, ...manifest } = JSON.parse(await readFile(join(path, 'checkpoint.json'), 'utf8'));
      const body = { ...manifest, ...changed };
      const text = JSON.stringify({ ...body, sha256: sha256(JSON.stringify(body)) });
      await writeFile(join(path, 'checkpoint.json'), text);
    };

    it.each([
      ['step', -1],
      ['step', '3'],
      ['optimizer', {}],
      ['optimizer', { steps: 0.5 }],
      ['files', null],
      ['files', []],
      ['files', { 'config.json': null }],
      ['files', { 'config.json': { bytes: 2, sha256: 3 } }],
      ['state', undefined],
    ])('for the %s %j', async (name, value) => {
      const path = await save();
      await seal(path, { [name]: value });
      await expectRefusal(
        () => loadCheckpoint(backend, path),
        'CHECKPOINT_CORRUPT',
        new RegExp(`has ${name} .*; expected`),
      );
    });

    it.each([
      '',
      '{"vocabSize": ',
      '3',
      '{"vocabSize": 16, "hiddenSize": 8, "numHeads": 2, "context": 8, "numLayers": 1e12}',
    ])('for the config %j', async (config) => {
      const path = await save();
      await writeFile(join(path, 'config.json'), config);
      const { files } = JSON.parse(await readFile(join(path, 'checkpoint.json'), 'utf8'));
      await seal(path, { files: { ...files, 'config.json': { bytes: config.length, sha256: sha256(config) } } });
      await expectRefusal(
        () => loadCheckpoint(backend, path),
        'CHECKPOINT_CORRUPT',
        /config\.json: describes no model/,
      );
    });
  });

  it('is refused when it is something else', async () => {
    const path = await save();
    await writeFile(join(path, 'checkpoint.json'), '{"format":"other"}');
    await expectRefusal(
      () => loadCheckpoint(backend, path),
      'CHECKPOINT_CORRUPT',
      /expected "format": "lazy-attention-checkpoint"/,
    );
    await expectRefusal(
      () => loadCheckpoint(backend, join(folder, 'nowhere')),
      'CHECKPOINT_MISSING',
      /checkpoint\.json/,
    );
  });

  it('is refused for a model of another shape', async () => {
    const path = await save();
    const wider = lazyTransformer({ ...model.config, intermediateSize: 128 });
    await expectRefusal(
      () => loadCheckpoint(backend, path, { model: wider }),
      'CHECKPOINT_SHAPE',
      /config\.json: intermediateSize is 64; the model expects 128/,
    );
    const bf16 = lazyTransformer({ ...model.config, computeDType: 'bf16' });
    disposeParams((await loadCheckpoint(backend, path, { model: bf16 })).params);
  });
});

describe('a save that fails', () => {
  /** Every file handle's writeFile fails once `bytes` have been written, as on a full disk. */
  async function fillDiskAfter(bytes: number): Promise<void> {
    const probe = await open(join(folder, 'probe'), 'w');
    const prototype = Object.getPrototypeOf(probe) as typeof probe;
    await probe.close();
    await rm(join(folder, 'probe'));
    const original = prototype.writeFile;
    let left = bytes;
    vi.spyOn(prototype, 'writeFile').mockImplementation(function (this: typeof probe, ...args) {
      left -= (args[0] as Uint8Array).length;
      if (left < 0) return Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' }));
      return original.apply(this, args);
    });
  }

  it.each([0, 600, 5000, 30000])('on a disk that is full after %i bytes leaves the old one whole', async (bytes) => {
    const path = await save(1);
    const tensors = backend.memory().tensors;
    await fillDiskAfter(bytes);
    const params = model.init(backend, 1);
    const optimizer = adamW(backend, params);
    await expectRefusal(
      () => saveCheckpoint(folder, { model, params, optimizer, step: 2 }),
      'CHECKPOINT_WRITE',
      /step-00000002: not saved: no space is left on the disk; earlier checkpoints are untouched/,
    );
    vi.restoreAllMocks();
    optimizer.dispose();
    disposeParams(params);
    expect(backend.memory().tensors).toBe(tensors);
    expect(await readdir(folder)).toEqual(['step-00000001']);
    disposeParams((await loadCheckpoint(backend, path)).params);
  });

  it('because a parameter has diverged says which', async () => {
    await save(1);
    const params: Record<string, Tensor> = { ...model.init(backend, 1) };
    params['model.norm.weight'] = backend.full([16], Number.NaN);
    await expectRefusal(
      () => saveCheckpoint(folder, { model, params, step: 2 }),
      'CHECKPOINT_WRITE',
      /element 0 of 'model\.norm\.weight' is NaN; not saved: the run has diverged/,
    );
    expect(await readdir(folder)).toEqual(['step-00000001']);
  });

  it('because of parameters of another model, state that is no JSON, or where there is a file', async () => {
    const params = model.init(backend, 1);
    const { 'model.norm.weight': _, ...incomplete } = params;
    await expectRefusal(
      () => saveCheckpoint(folder, { model, params: incomplete, step: 1 }),
      'CHECKPOINT_SHAPE',
      /params\['model\.norm\.weight'\] is missing; the model has \[16\]/,
    );
    for (const [state, message] of [
      [{ a: [1, Number.NaN] }, /state\.a\[1\] is NaN/],
      [{ f: () => 1 }, /state\.f is \(\) => 1/],
      [new Date(0), /which JSON cannot hold/],
    ] as const) {
      await expectRefusal(
        () => saveCheckpoint(folder, { model, params, step: 1, state: state as unknown as Json }),
        'CHECKPOINT_WRITE',
        message,
      );
    }
    await writeFile(join(folder, 'file'), '');
    await expectRefusal(
      () => saveCheckpoint(join(folder, 'file'), { model, params, step: 1 }),
      'CHECKPOINT_WRITE',
      /not saved/,
    );
    await expect(saveCheckpoint(folder, { model, params, step: -1 })).rejects.toThrowErrorMatchingInlineSnapshot(
      `[ValueError: saveCheckpoint: step is -1; expected an integer from 0]`,
    );
    await expect(
      saveCheckpoint(folder, { model, params, step: 1, keep: 0 }),
    ).rejects.toThrowErrorMatchingInlineSnapshot(
      `[ValueError: saveCheckpoint: keep is 0; expected a positive integer]`,
    );
  });
});

describe('a file of parameters', () => {
  it('is plain safetensors', async () => {
    const params = model.init(backend, 1);
    const half = { ...params, 'model.norm.weight': backend.cast(params['model.norm.weight'], 'bf16') };
    const path = join(folder, 'x.safetensors');
    await saveParams(path, half, { format: 'pt' });
    const { tensors, metadata } = decodeSafetensors(await readFile(path));
    expect(metadata).toEqual({ format: 'pt' });
    expect(tensors['model.norm.weight'].dtype).toBe('bf16');
    expect(Array.from(tensors['lm_head.weight'].data)).toEqual(await numbers(params['lm_head.weight']));
    const loaded = await loadParams(backend, path, model.shapes);
    expect(await numbers(loaded['lm_head.weight'])).toEqual(await numbers(params['lm_head.weight']));
    expect(await readdir(folder)).toEqual(['x.safetensors']);
  });

  it('widens bf16 and f16 where the backend lacks them, and takes another type when asked', async () => {
    const path = join(folder, 'x.safetensors');
    const data = Float32Array.of(1.5, -0.375);
    await writeFile(
      path,
      encodeSafetensors({
        b: { dtype: 'bf16', shape: [2], data },
        h: { dtype: 'f16', shape: [2], data },
        d: { dtype: 'f64', shape: [2], data: Float64Array.from(data) },
      }),
    );
    const small = await reference();
    Object.defineProperty(small, 'dtypes', { value: new Set(['f32', 'i32']) });
    await expectRefusal(
      () => loadParams(small, path),
      'CHECKPOINT_READ',
      /'d' is f64 .*; give loadParams { dtype: 'f32' }/,
    );
    const loaded = await loadParams(small, path, undefined, { dtype: 'f32' });
    for (const tensor of Object.values(loaded)) {
      expect(tensor.dtype).toBe('f32');
      expect(await numbers(tensor)).toEqual([1.5, -0.375]);
    }
    await writeFile(path, encodeSafetensors({ b: { dtype: 'bf16', shape: [2], data } }));
    expect((await loadParams(small, path)).b.dtype).toBe('f32');
    expect((await loadParams(backend, path)).b.dtype).toBe('bf16');
    await small.dispose();
  });

  it('comes in the order of the shapes, and with those names and shapes only', async () => {
    const path = join(folder, 'x.safetensors');
    const data = new Float32Array(2);
    await writeFile(
      path,
      encodeSafetensors({ b: { dtype: 'f32', shape: [2], data }, a: { dtype: 'f32', shape: [2], data } }),
    );
    expect(Object.keys(await loadParams(backend, path, { a: [2], b: [2] }))).toEqual(['a', 'b']);
    expect(Object.keys(await loadParams(backend, path))).toEqual(['b', 'a']);
    await expectRefusal(
      () => loadParams(backend, path, { a: [2] }),
      'CHECKPOINT_SHAPE',
      /has 1 tensors that the model lacks: b/,
    );
    await expectRefusal(
      () => loadParams(backend, path, { a: [2], b: [2], c: [1] }),
      'CHECKPOINT_SHAPE',
      /lacks 1 tensors .*: c/,
    );
    await expectRefusal(
      () => loadParams(backend, path, { a: [2], b: [1, 2] }),
      'CHECKPOINT_SHAPE',
      /'b' has shape \[2\]; the model expects \[1, 2\]/,
    );
    await expectRefusal(() => loadParams(backend, join(folder, 'y')), 'CHECKPOINT_MISSING', /no such file/);
    await expectRefusal(() => loadParams(backend, folder), 'CHECKPOINT_READ', /is no regular file/);
  });
});
