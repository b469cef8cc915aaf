import { describe, expect, test } from 'vitest';
import { chooseAttentionTile } from '../src/ops/attention.ts';
import { chooseSplits, chooseTile, FLAT_TILE, LARGE_TILE, MEDIUM_TILE } from '../src/ops/matmul.ts';
import {
  attentionBiasSum,
  attentionDelta,
  attentionGradKey,
  attentionGradQuery,
} from '../src/wgsl/attention-backward.ts';
import { decodeOutput, decodeScores } from '../src/wgsl/attention-decode.ts';
import { attentionForward, attentionStats } from '../src/wgsl/attention-forward.ts';
import { type AttentionVariant, headClassOf, outputMapping } from '../src/wgsl/attention-tile.ts';
import * as elementwise from '../src/wgsl/elementwise.ts';
import { gemm } from '../src/wgsl/gemm.ts';
import { type KernelSource, wgslModule } from '../src/wgsl/module.ts';
import * as reduce from '../src/wgsl/reduce.ts';
import * as rows from '../src/wgsl/rows.ts';

const gpu = { f16: true, subgroups: true, sharedBytes: 32768, software: false };
const tiles = {
  gpu: chooseAttentionTile(gpu, 1024),
  small: chooseAttentionTile({ ...gpu, sharedBytes: 16384 }, 1024),
  software: chooseAttentionTile({ ...gpu, software: true }, 64),
  softwareLong: chooseAttentionTile({ ...gpu, software: true }, 1024),
};

const { add, mul, scale, swiglu, swigluGrad, fill, broadcast, rope } = elementwise;
const simple = { add, mul, scale, swiglu, swigluGrad, fill, broadcast, rope };
const { linkIds, ...byRow } = rows;

/** Every kernel; of the large tables of variants a cut through each dimension. */
function catalogue(): Record<string, KernelSource> {
  const all: Record<string, KernelSource> = {
    finalSum: reduce.finalSum(),
    headSum: reduce.headSum(),
    linkIds: linkIds(),
    biasSum: attentionBiasSum(),
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
    all[`attention/delta/${type}`] = attentionDelta(type);
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
    const variant = { tile: MEDIUM_TILE, transposeA, transposeB, dtype: 'f32', aligned: true, partial: false } as const;
    all[`matmul/${layout}`] = gemm(variant);
    all[`matmul/${layout}/unaligned/f16`] = gemm({ ...variant, aligned: false, dtype: 'f16' });
  }
  const nn = { transposeA: false, transposeB: true, dtype: 'f16', aligned: true } as const;
  all['matmul/large'] = gemm({ ...nn, tile: LARGE_TILE, partial: true });
  all['matmul/flat'] = gemm({ ...nn, tile: FLAT_TILE, partial: false });
  const attention = (name: string, variant: AttentionVariant): void => {
    all[`attention/stats/${name}`] = attentionStats(variant);
    all[`attention/forward/${name}`] = attentionForward(variant, false);
    all[`attention/forward/active/${name}`] = attentionForward(variant, true);
    all[`attention/gradQuery/${name}`] = attentionGradQuery(variant);
    all[`attention/gradKey/${name}`] = attentionGradKey(variant);
    all[`attention/decodeScores/${name}`] = decodeScores(variant);
    all[`attention/decodeOutput/${name}`] = decodeOutput(variant);
  };
  attention('gpu/64/f32', { headClass: 64, dtype: 'f32', tile: tiles.gpu });
  attention('gpu/128/f16', { headClass: 128, dtype: 'f16', tile: tiles.gpu });
  attention('small/256/f32', { headClass: 256, dtype: 'f32', tile: tiles.small });
  attention('software/16/f32', { headClass: 16, dtype: 'f32', tile: tiles.software });
  attention('softwareLong/64/f32', { headClass: 64, dtype: 'f32', tile: tiles.softwareLong });
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
    const text = wgslModule(source);
    test(name, async () => {
      await expect(text).toMatchFileSnapshot(`./__snapshots__/${name.replace(/[/<>]/g, '-')}.wgsl`);
      expect(source.buffers.length, 'storage buffers').toBeLessThanOrEqual(8);
      expect(source.params.length, 'parameters of 4 bytes in 128').toBeLessThanOrEqual(32);
      expect(source.workgroupSize).toBeLessThanOrEqual(256);
      expect(workgroupBytes(text)).toBeLessThanOrEqual(
        name.includes('small') || !name.startsWith('attention') ? 16384 : 32768,
      );
      expect(text).not.toContain('undefined');
    });
  }
});

describe('tile choice', () => {
  test('a head size uses the smallest class that holds it', () => {
    expect([4, 16, 20, 64, 68, 128, 132, 256].map(headClassOf)).toEqual([16, 16, 32, 64, 128, 128, 256, 256]);
  });

  test.each([16, 32, 64, 128, 256] as const)('the outputs of class %i cover lines x columns exactly', (headClass) => {
    for (const [lines, threads] of [
      [64, 128],
      [64, 64],
      [32, 64],
    ] as const) {
      const { columnGroups, lines: perThread, columns } = outputMapping(lines, headClass, threads);
      expect((threads / columnGroups) * perThread).toBe(lines);
      expect(columnGroups * columns).toBeGreaterThanOrEqual(headClass / 4);
      expect(perThread % 4).toBe(0);
    }
  });

  test('decoding, small and large products get their own tiles, and lonely deep ones are split', () => {
    expect(chooseTile({ m: 1, n: 4096 })).toBe(FLAT_TILE);
    expect(chooseTile({ m: 128, n: 128 })).toBe(MEDIUM_TILE);
    expect(chooseTile({ m: 1024, n: 1024 })).toBe(LARGE_TILE);
    const problem = { batch: 1, m: 128, n: 128, k: 4096, transposeA: true, transposeB: false };
    expect(chooseSplits(problem, MEDIUM_TILE)).toBe(8);
    expect(chooseSplits({ ...problem, k: 128 }, MEDIUM_TILE)).toBe(1);
    expect(chooseSplits({ ...problem, m: 1024, n: 1024 }, LARGE_TILE)).toBe(1);
  });
});
