import { BINARY_FUNCTIONS, REDUCE_FUNCTIONS, UNARY_FUNCTIONS } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { chooseSplits, chooseTile, DIRECT_TILES, STAGED_TILES } from '../src/ops/matmul.ts';
import { decodeOutput, decodeScores, headClassOf } from '../src/wgsl/attention-decode.ts';
import { stripBiasSum, stripDiagonals, stripSoftmax, stripSoftmaxGrad } from '../src/wgsl/attention-rows.ts';
import { GROUP, stripColumns, stripRows, stripScores, stripTiles } from '../src/wgsl/attention-strip.ts';
import { denseScores, elasticSoftmax, elasticSoftmaxGrad } from '../src/wgsl/attention-weights.ts';
import { decoderAdd, decoderAttention, decoderGate, decoderLogits, decoderProject } from '../src/wgsl/decoder.ts';
import { cast, fill, scale, swiglu, swigluGrad } from '../src/wgsl/elementwise.ts';
import { embedding, embeddingGrad, linkIds } from '../src/wgsl/embedding.ts';
import { gemm } from '../src/wgsl/gemm.ts';
import { type Kernel, type KernelText, keyOf, type Scalar } from '../src/wgsl/kernel.ts';
import { crossEntropyGrad, crossEntropyRows } from '../src/wgsl/loss.ts';
import { type DeviceTraits, wgslModule } from '../src/wgsl/module.ts';
import { moveRows } from '../src/wgsl/move.ts';
import { rmsNorm, rmsNormGradInput, rmsNormGradWeight } from '../src/wgsl/norm.ts';
import { adamw } from '../src/wgsl/optimizer.ts';
import { binary, binaryView, rearrange, unary } from '../src/wgsl/primitives.ts';
import { reduceColumns, reduceRows } from '../src/wgsl/reduce.ts';
import { rope } from '../src/wgsl/rope.ts';
import { embedTokens, sampleToken } from '../src/wgsl/sample.ts';
import { finalSum, headSum, partialSum, splitSum } from '../src/wgsl/sums.ts';

/** A variant of a kernel, and its text on a device. */
interface Entry {
  readonly source: KernelText;
  readonly params: number;
  text(traits: DeviceTraits): string;
}

/** Every kernel; of the large tables of variants a cut through each dimension. By the keys of the pipeline cache. */
function catalogue(): Map<string, Entry> {
  const all = new Map<string, Entry>();
  const put = <V extends object, B extends string, P extends string>(
    kernel: Kernel<V, B, P>,
    ...variants: readonly V[]
  ): void => {
    for (const variant of variants) {
      const key = keyOf(kernel.name, variant);
      expect(all.has(key), `two texts are called ${key}`).toBe(false);
      const params = Object.keys(kernel.params).length;
      const text = (traits: DeviceTraits): string => wgslModule(kernel, variant, traits);
      all.set(key, { source: kernel.text(variant), params, text });
    }
  };
  put(finalSum, {});
  put(headSum, {});
  put(linkIds, {});
  put(stripSoftmax, {});
  put(stripSoftmaxGrad, {});
  put(stripDiagonals, {});
  put(stripBiasSum, {});
  put(adamw, { clip: false }, { clip: true });
  put(cast, { from: 'f16', to: 'f32' }, { from: 'f32', to: 'f16' });
  const types = [{ type: 'f32' }, { type: 'f16' }] as const;
  put(scale, ...types);
  put(swiglu, ...types);
  put(swigluGrad, ...types);
  for (const fn of UNARY_FUNCTIONS) put(unary, { fn, type: 'f32' });
  for (const fn of BINARY_FUNCTIONS) put(binary, { fn, type: 'f32', a: 'vector', b: 'vector' });
  put(binary, { fn: 'add', type: 'f16', a: 'splat', b: 'vector' });
  const add = { fn: 'add', type: 'f16' } as const;
  put(binaryView, { ...add, a: 'vector', b: 'splat', axes: 2 }, { ...add, a: 'gather', b: 'gather', axes: 8 });
  put(rearrange, { type: 'u32', x: 'gather', axes: 3 }, { type: 'f16', x: 'vector', axes: 2 });
  for (const fn of REDUCE_FUNCTIONS) {
    const to = fn === 'argmax' ? 'i32' : 'f32';
    put(reduceRows, { fn, type: 'f16', to });
    put(reduceColumns, { fn, type: 'f32', to });
  }
  put(fill, ...types);
  put(rope, ...types);
  put(rmsNorm, ...types);
  put(rmsNormGradInput, ...types);
  put(rmsNormGradWeight, ...types);
  put(crossEntropyRows, ...types);
  put(crossEntropyGrad, ...types);
  put(elasticSoftmax, ...types);
  put(elasticSoftmaxGrad, ...types);
  put(denseScores, ...types);
  put(embedding, ...types);
  put(embeddingGrad, ...types);
  put(splitSum, ...types);
  for (const squares of [false, true]) for (const { type } of types) put(partialSum, { type, squares });
  for (const unit of ['u32', 'vec4<u32>', 'f16', 'vec2<u32>'] as const) {
    put(moveRows, { direction: 'slice', unit }, { direction: 'insert', unit });
  }
  const plain = { aligned: true, partial: false, accumulate: false } as const;
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      for (const { medium: tile } of [STAGED_TILES, DIRECT_TILES]) {
        put(gemm, { transposeA, transposeB, type: 'f32', tile, ...plain });
        put(gemm, { transposeA, transposeB, type: 'f16', tile, ...plain, aligned: false });
      }
    }
  }
  const nt = { transposeA: false, transposeB: true, type: 'f16' } as const;
  for (const tiles of [STAGED_TILES, DIRECT_TILES]) {
    put(gemm, { ...nt, tile: tiles.large, ...plain, partial: true }, { ...nt, tile: tiles.flat, ...plain });
  }
  const accumulating = { ...nt, tile: DIRECT_TILES.medium, ...plain, accumulate: true };
  put(gemm, accumulating, { ...accumulating, aligned: false });
  const strip = (headDim: number, type: Scalar, software: boolean): void => {
    const { scores, results } = stripTiles(headDim, software);
    put(stripScores, { tile: scores, type });
    put(stripRows, { tile: results, type });
    put(stripColumns, { tile: results, type, accumulate: software });
  };
  strip(128, 'f32', false);
  strip(32, 'f16', false);
  strip(128, 'f32', true);
  strip(32, 'f16', true);
  for (const [headClass, type] of [
    [16, 'f32'],
    [64, 'f32'],
    [128, 'f16'],
    [256, 'f32'],
  ] as const) {
    put(decodeScores, { headClass, type });
    put(decodeOutput, { headClass, type });
  }
  const weights = [
    { type: 'f32', wide: true, batchRows: 1 },
    { type: 'f16', wide: false, batchRows: 4 },
  ] as const;
  put(decoderProject, ...weights);
  put(decoderAttention, ...types);
  put(decoderAdd, ...weights);
  put(decoderGate, ...weights);
  put(decoderLogits, ...weights);
  put(embedTokens, ...types);
  put(sampleToken, { type: 'f32', greedy: true }, { type: 'f32', greedy: false });
  return all;
}

/** Bytes of the module's workgroup variables. */
function workgroupBytes(text: string): number {
  let bytes = 0;
  for (const [, type, count] of text.matchAll(/var<workgroup> \w+: array<(\S+), (\d+)>/g)) {
    bytes += Number(count) * (type.startsWith('vec4') ? 16 : 4);
  }
  return bytes;
}

const DEVICES = {
  '': { subgroups: false, software: false },
  '/subgroups': { subgroups: true, software: false },
  '/software': { subgroups: false, software: true },
};

describe('generated WGSL', () => {
  for (const [name, { source, params, text }] of catalogue()) {
    const byRow = source.workgroupSize === 'row' || source.reductions !== undefined;
    for (const [suffix, traits] of Object.entries(DEVICES)) {
      if (suffix !== '' && !byRow) continue;
      test(name + suffix, async () => {
        const code = text(traits);
        await expect(code).toMatchFileSnapshot(`./__snapshots__/${(name + suffix).replace(/[/<>]/g, '-')}.wgsl`);
        expect(Object.keys(source.buffers).length, 'storage buffers').toBeLessThanOrEqual(8);
        expect(params, 'parameters of 4 bytes in 128').toBeLessThanOrEqual(32);
        expect(Number(/workgroup_size\((\d+)\)/.exec(code)?.[1])).toBeLessThanOrEqual(256);
        // What every adapter has.
        expect(workgroupBytes(code)).toBeLessThanOrEqual(16384);
        expect(code).not.toContain('undefined');
        expect(code.includes('enable subgroups;')).toBe(suffix === '/subgroups' && source.reductions !== undefined);
      });
    }
  }

  test('kernels for software adapters have neither workgroup memory nor barriers in products', () => {
    for (const tile of Object.values(DIRECT_TILES)) {
      const variant = { transposeA: false, transposeB: false, type: 'f32', tile, aligned: true } as const;
      const code = wgslModule(
        gemm,
        { ...variant, partial: false, accumulate: false },
        { subgroups: true, software: true },
      );
      expect(code).not.toMatch(/workgroupBarrier|var<workgroup>/);
    }
  });
});

describe('tile choice', () => {
  test('a head size uses the smallest class that holds it', () => {
    expect([4, 16, 20, 64, 68, 128, 132, 256].map(headClassOf)).toEqual([16, 16, 32, 64, 128, 128, 256, 256]);
  });

  test('tiles of strips divide the groups of rows, and narrow heads take narrow tiles', () => {
    for (const software of [false, true]) {
      for (const headDim of [4, 32, 36, 256]) {
        const { scores, results } = stripTiles(headDim, software);
        for (const { tileM, tileN } of [scores, results]) expect([GROUP % tileM, GROUP % tileN]).toEqual([0, 0]);
        expect(results.tileN).toBe(headDim <= 32 ? 32 : 64);
      }
    }
  });

  test('decoding, small and large products get their own tiles, and lonely deep ones are split', () => {
    expect(chooseTile({ m: 1, n: 4096 }, false)).toBe(STAGED_TILES.flat);
    expect(chooseTile({ m: 128, n: 128 }, false)).toBe(STAGED_TILES.medium);
    expect(chooseTile({ m: 1024, n: 1024 }, false)).toBe(STAGED_TILES.large);
    expect(chooseTile({ m: 1, n: 4096 }, true)).toBe(DIRECT_TILES.flat);
    expect(chooseTile({ m: 1024, n: 1024 }, true)).toBe(DIRECT_TILES.large);
    const problem = { batch: 1, m: 128, n: 128, k: 4096, transposeA: true, transposeB: false };
    expect(chooseSplits(problem, STAGED_TILES.medium, false)).toBe(8);
    expect(chooseSplits(problem, DIRECT_TILES.medium, true)).toBe(1);
    expect(chooseSplits({ ...problem, k: 128 }, STAGED_TILES.medium, false)).toBe(1);
    expect(chooseSplits({ ...problem, m: 1024, n: 1024 }, STAGED_TILES.large, false)).toBe(1);
  });
});
