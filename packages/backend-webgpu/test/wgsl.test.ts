import { describe, expect, test } from 'vitest';
import { chooseSplits, chooseTile, DIRECT_TILES, STAGED_TILES } from '../src/ops/matmul.ts';
import { decodeOutput, decodeScores, headClassOf } from '../src/wgsl/attention-decode.ts';
import { stripBiasSum, stripDiagonals, stripSoftmax, stripSoftmaxGrad } from '../src/wgsl/attention-rows.ts';
import { GROUP, stripColumns, stripRows, stripScores, stripTiles } from '../src/wgsl/attention-strip.ts';
import * as elementwise from '../src/wgsl/elementwise.ts';
import { gemm } from '../src/wgsl/gemm.ts';
import { type KernelSource, wgslModule } from '../src/wgsl/module.ts';
import * as reduce from '../src/wgsl/reduce.ts';
import * as rows from '../src/wgsl/rows.ts';

const { add, mul, scale, swiglu, swigluGrad, fill, broadcast, rope } = elementwise;
const simple = { add, mul, scale, swiglu, swigluGrad, fill, broadcast, rope };
const { linkIds, ...byRow } = rows;

/** Every kernel; of the large tables of variants a cut through each dimension. */
function catalogue(): Record<string, KernelSource> {
  const all: Record<string, KernelSource> = {
    finalSum: reduce.finalSum(),
    headSum: reduce.headSum(),
    linkIds: linkIds(),
    'attention/softmax': stripSoftmax(),
    'attention/softmaxGrad': stripSoftmaxGrad(),
    'attention/diagonals': stripDiagonals(),
    'attention/biasSum': stripBiasSum(),
    adamw: elementwise.adamw(false),
    'adamw/clip': elementwise.adamw(true),
    'cast/f16/f32': elementwise.cast('f16', 'f32'),
    'cast/f32/f16': elementwise.cast('f32', 'f16'),
  };
  for (const type of ['f32', 'f16'] as const) {
    for (const name of Object.keys(simple) as (keyof typeof simple)[]) {
      all[`${name}/${type}`] = simple[name](type);
    }
    for (const name of Object.keys(byRow) as (keyof typeof byRow)[]) {
      all[`${name}/${type}`] = byRow[name](type);
    }
    all[`splitSum/${type}`] = reduce.splitSum(type);
    all[`partialSum/${type}`] = reduce.partialSum(type, false);
    all[`partialSum/squares/${type}`] = reduce.partialSum(type, true);
  }
  for (const unit of ['u32', 'vec4<u32>', 'f16', 'vec2<u32>'] as const) {
    for (const direction of ['slice', 'insert'] as const) {
      all[`${direction}/${unit}`] = elementwise.moveRows(unit, direction);
    }
  }
  for (const [layout, transposeA, transposeB] of [
    ['nn', false, false],
    ['nt', false, true],
    ['tn', true, false],
    ['tt', true, true],
  ] as const) {
    const variant = { transposeA, transposeB, dtype: 'f32', aligned: true, partial: false, accumulate: false } as const;
    for (const [way, { medium }] of Object.entries({ staged: STAGED_TILES, direct: DIRECT_TILES })) {
      all[`matmul/${way}/${layout}`] = gemm({ ...variant, tile: medium });
      all[`matmul/${way}/${layout}/unaligned/f16`] = gemm({ ...variant, tile: medium, aligned: false, dtype: 'f16' });
    }
  }
  const nt = { transposeA: false, transposeB: true, dtype: 'f16', aligned: true, accumulate: false } as const;
  all['matmul/staged/large'] = gemm({ ...nt, tile: STAGED_TILES.large, partial: true });
  all['matmul/direct/accumulate'] = gemm({ ...nt, tile: DIRECT_TILES.medium, partial: false, accumulate: true });
  all['matmul/direct/accumulate/unaligned'] = gemm({
    ...nt,
    tile: DIRECT_TILES.medium,
    aligned: false,
    partial: false,
    accumulate: true,
  });
  all['matmul/direct/large'] = gemm({ ...nt, tile: DIRECT_TILES.large, partial: true });
  all['matmul/staged/flat'] = gemm({ ...nt, tile: STAGED_TILES.flat, partial: false });
  all['matmul/direct/flat'] = gemm({ ...nt, tile: DIRECT_TILES.flat, partial: false });
  const strip = (way: string, headDim: number, dtype: 'f32' | 'f16', software: boolean): void => {
    const { scores, results } = stripTiles(headDim, software);
    all[`attention/scores/${way}/${dtype}`] = stripScores({ tile: scores, dtype });
    all[`attention/rows/${way}/${results.tileN}/${dtype}`] = stripRows({ tile: results, dtype });
    all[`attention/columns/${way}/${results.tileN}/${dtype}`] = stripColumns({ tile: results, dtype }, software);
  };
  strip('staged', 128, 'f32', false);
  strip('staged', 32, 'f16', false);
  strip('direct', 128, 'f32', true);
  strip('direct', 32, 'f16', true);
  for (const [headClass, dtype] of [
    [16, 'f32'],
    [64, 'f32'],
    [128, 'f16'],
    [256, 'f32'],
  ] as const) {
    all[`attention/decodeScores/${headClass}/${dtype}`] = decodeScores({ headClass, dtype });
    all[`attention/decodeOutput/${headClass}/${dtype}`] = decodeOutput({ headClass, dtype });
  }
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

describe('generated WGSL', () => {
  for (const [name, source] of Object.entries(catalogue())) {
    const byRow = source.workgroupSize === 'row' || source.reductions !== undefined;
    const texts = {
      '': wgslModule(source, { subgroups: false, software: false }),
      ...(byRow && {
        '/subgroups': wgslModule(source, { subgroups: true, software: false }),
        '/software': wgslModule(source, { subgroups: false, software: true }),
      }),
    };
    for (const [suffix, text] of Object.entries(texts)) {
      test(name + suffix, async () => {
        await expect(text).toMatchFileSnapshot(`./__snapshots__/${(name + suffix).replace(/[/<>]/g, '-')}.wgsl`);
        expect(source.buffers.length, 'storage buffers').toBeLessThanOrEqual(8);
        expect(source.params.length, 'parameters of 4 bytes in 128').toBeLessThanOrEqual(32);
        expect(Number(/workgroup_size\((\d+)\)/.exec(text)?.[1])).toBeLessThanOrEqual(256);
        // What every adapter has.
        expect(workgroupBytes(text)).toBeLessThanOrEqual(16384);
        expect(text).not.toContain('undefined');
        expect(text.includes('enable subgroups;')).toBe(suffix === '/subgroups' && source.reductions !== undefined);
      });
    }
  }

  test('kernels for software adapters have neither workgroup memory nor barriers in products', () => {
    for (const [name, source] of Object.entries(catalogue())) {
      if (name.includes('/direct/'))
        expect(wgslModule(source, { subgroups: true, software: true }), name).not.toMatch(
          /workgroupBarrier|var<workgroup>/,
        );
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
