import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { provider } from '@lazy-attention/backend-tfjs';
import { BackendUnavailableError, ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { checkCore } from '../src/engine.ts';
import { bridgeRemovedUtilities } from '../src/load.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

describe('choosing an engine', () => {
  it('probes to the best that works', async () => {
    const { available, device } = await provider.probe();
    expect(available).toBe(true);
    expect(device).toMatch(/engine (tfjs-node|wasm)/);
  });

  it('takes the one that is named', async () => {
    for (const engine of ['wasm', 'cpu']) {
      const kernels = await provider.create({ engine });
      expect(kernels.device).toContain(`engine ${engine} `);
      await kernels.dispose();
    }
  });

  it('leaves the engine that was active in tfjs as it was', async () => {
    await tf.setBackend('cpu');
    const kernels = await provider.create({ engine: 'wasm' });
    const cell = kernels.binary(
      { buffer: kernels.full([2], 1, 'f32'), shape: [2], dtype: 'f32' },
      { buffer: kernels.full([2], 2, 'f32'), shape: [2], dtype: 'f32' },
      'add',
      { shape: [2], sizes: [2], stridesA: [1], stridesB: [1] },
    );
    expect(tf.getBackend()).toBe('cpu');
    expect(Array.from(await kernels.read({ buffer: cell, shape: [2], dtype: 'f32' }))).toEqual([3, 3]);
    await kernels.dispose();
  });
});

describe('what it refuses', () => {
  it('an engine that is not installed, with the command that installs it', async () => {
    const error = await provider.create({ engine: 'tfjs-node-gpu' }).catch((e) => e);
    expect(error).toBeInstanceOf(BackendUnavailableError);
    expect(error.message).toMatch(
      /engine 'tfjs-node-gpu' needs the package '@tensorflow\/tfjs-node-gpu', which is not/,
    );
    expect(error.fix).toBe('npm install @tensorflow/tfjs-node-gpu@4');
  });

  it('an engine of browsers in Node', async () => {
    await expect(provider.create({ engine: 'webgl' })).rejects.toThrow(
      /engine 'webgl' runs in browsers; in Node there are tfjs-node-gpu, tfjs-node, wasm, cpu/,
    );
  });

  it('an unknown engine or option', async () => {
    await expect(provider.create({ engine: 'gpu' })).rejects.toThrow(ValueError);
    await expect(provider.create({ engine: 'gpu' })).rejects.toThrow(/engine is "gpu"; expected tfjs-node-gpu, /);
    await expect(provider.create({ threads: 2 })).rejects.toThrow(/unknown option 'threads'/);
  });

  it('tfjs of another major version', () => {
    expect(() => checkCore('3.21.0')).toThrow(/@tensorflow\/tfjs-core is version 3\.21\.0; expected 4\.x/);
    checkCore();
  });

  it('a second copy of tfjs-core', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tfjs-copy-'));
    try {
      // Only the bundle: what it requires is found from the original by NODE_PATH.
      const original = createRequire(import.meta.url).resolve('@tensorflow/tfjs-core');
      await cp(original, join(folder, 'copy.cjs'));
      const script = `
        await import(${JSON.stringify(pathToFileURL(join(folder, 'copy.cjs')).href)});
        const { provider } = await import(${JSON.stringify(pathToFileURL(join(root, 'dist/index.js')).href)});
        console.log(JSON.stringify(await provider.create({ engine: 'cpu' }).then(() => 'created', (e) => e.message)));
      `;
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
        cwd: root,
        env: { ...process.env, NODE_PATH: join(dirname(original), '../../..') },
      });
      expect(stdout).toMatch(/two copies of @tensorflow\/tfjs-core are loaded/);
      expect(stdout).toMatch(/npm dedupe/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

it('puts back the utilities that Node 23 removed and tfjs-node calls, and only those', () => {
  const util: Record<string, unknown> = { isArray: 'as it was' };
  bridgeRemovedUtilities(util);
  const isNullOrUndefined = util.isNullOrUndefined as (value: unknown) => boolean;
  expect([null, undefined, 0, ''].map(isNullOrUndefined)).toEqual([true, true, false, false]);
  expect(util.isArray).toBe('as it was');
});
