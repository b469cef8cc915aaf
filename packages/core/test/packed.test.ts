import { describe, expect, it } from 'vitest';
import {
  createBackend,
  DTypeError,
  packBF16,
  packBlocks,
  packs,
  ShapeError,
  unpackWeights,
  ValueError,
} from '../src/index.ts';

const half = (count: number) => new Uint16Array(count).fill(0x3c00); // 1

describe('packed weights', () => {
  it('say which matrices can be packed', () => {
    expect(
      [
        [16, 32],
        [48, 65_536],
      ].map(packs),
    ).toEqual([true, true]);
    expect([[15, 32], [16, 33], [16, 65_568], [16], [2, 16, 32]].map(packs)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  it('are refused when they lie or are none', async () => {
    const backend = await createBackend('reference');
    const right = packBF16([16, 32], half(512));
    class Short extends Int32Array {
      override get length(): number {
        return 256;
      }
    }
    const forged = Object.create(Int32Array.prototype, { length: { value: 256 } });
    for (const words of [new Short(1), forged, [1], undefined]) {
      expect(() => backend.packed({ ...right, words } as never)).toThrow(ValueError);
    }
    for (const shape of ['16x32', {}, null, [16]]) {
      expect(() => backend.packed({ ...right, shape } as never)).toThrow(ShapeError);
    }
    let reads = 0;
    const changing = {
      dtype: 'w16',
      words: right.words,
      get shape() {
        return reads++ === 0 ? [16, 32] : [1600, 3200];
      },
    };
    expect(backend.packed(changing as never).shape).toEqual([16, 32]);
    await backend.dispose();
  });

  it('come back as they are', () => {
    const codes = Uint32Array.from({ length: 16 * 4 }, (_, i) => 0x76543210 + i);
    const four = unpackWeights(packBlocks([16, 32], { dtype: 'w4', codes, scales: half(16), offsets: half(16) }));
    expect(Array.from(four.subarray(0, 8))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const eight = Int8Array.from({ length: 16 * 32 }, (_, i) => i);
    const w8 = packBlocks([16, 32], { dtype: 'w8', codes: eight, scales: half(16) });
    expect(Array.from(unpackWeights(w8))).toEqual(Array.from(eight));
    const bits = new Uint16Array(16 * 32).map((_, i) => i);
    expect(new Uint32Array(unpackWeights(packBF16([16, 32], bits)).buffer)).toEqual(
      Uint32Array.from(bits, (b) => b << 16),
    );
  });

  it('have scales with factors, one or two per block', () => {
    const rows = (length: number) => Int8Array.from({ length }, (_, i) => i - 16);
    const parts = { scales: half(16), offsets: half(16).fill(0xbc00) }; // 1 and -1
    const words = new Uint32Array(64).fill(0x76543210);
    const four = packBlocks([16, 32], {
      dtype: 'w4k',
      codes: words,
      ...parts,
      scaleFactors: rows(16),
      offsetFactors: rows(16).map((x) => 2 * x),
    });
    expect(Array.from(unpackWeights(four))).toEqual(
      Array.from({ length: 512 }, (_, i) => ((i >> 5) - 16) * (i % 8) - 2 * ((i >> 5) - 16)),
    );
    const codes = Int8Array.from({ length: 512 }, (_, i) => (i % 64) - 32);
    const eight = packBlocks([16, 32], {
      dtype: 'w8k',
      codes,
      ...parts,
      scaleFactors: rows(32),
      offsetFactors: rows(32).map((x) => 3 * x),
    });
    expect(Array.from(unpackWeights(eight))).toEqual(
      Array.from(codes, (code, i) => ((i >> 4) - 16) * code - 3 * ((i >> 4) - 16)),
    );
    expect([four.words.length, eight.words.length]).toEqual([88, 160]);
  });

  it('refuse parts of other sizes, and scales that are no numbers', () => {
    expect(() => packBF16([16, 31], new Uint16Array(496))).toThrow(ShapeError);
    expect(() => packBF16([16, 32], new Uint16Array(513))).toThrow(/bits has 513 elements; expected 512/);
    expect(() => packBlocks([16, 32], { dtype: 'w8', codes: new Int8Array(5), scales: half(16) })).toThrow(
      /codes has 5 elements; expected 512/,
    );
    expect(() => packBlocks([16, 32], { dtype: 'w4', codes: new Uint32Array(64), scales: half(16) } as never)).toThrow(
      /offsets has no elements; expected 16/,
    );
    expect(() => packBlocks([16, 32], { dtype: 'w16', codes: new Uint32Array(256) } as never)).toThrow(DTypeError);
    const scales = half(16).fill(0x7c00, 3, 4);
    expect(() => packBlocks([16, 32], { dtype: 'w8', codes: new Int8Array(512), scales })).toThrow(
      /scales\[3\] is Infinity/,
    );
  });

  it('go where they are taken, and nowhere else', async () => {
    const backend = await createBackend('reference');
    const weights = packBF16([16, 32], new Uint16Array(512).fill(0x3f80));
    const w = backend.packed(weights);
    expect([w.dtype, w.shape, backend.memory().bytes]).toEqual(['w16', [16, 32], 1024]);
    const x = backend.full([2, 32], 1);
    expect(Array.from(await backend.matmul(x, w, { transposeB: true }).data())).toEqual(Array(32).fill(32));
    expect(() => backend.matmul(x, w)).toThrow(DTypeError);
    expect(() => backend.cast(w, 'f32')).toThrow(
      /packed weights go to matmul as b with transposeB and without transposeA/,
    );
    expect(() => backend.matmul(backend.full([2, 32], 1, 'f64'), w, { transposeB: true })).toThrow(/goes with f32/);
    expect(() => backend.zeros([16, 32], 'w4')).toThrow(DTypeError);
    expect(() => backend.packed({ ...weights, words: new Int32Array(3) })).toThrow(ValueError);
    expect(() => backend.packed({ ...weights, dtype: 'f32' as 'w4' })).toThrow(DTypeError);
    await expect(w.data()).rejects.toThrow(DTypeError);
    await backend.dispose();
  }, 30_000);
});
