import { describe, expect, it } from 'vitest';
import {
  createBackend,
  DTypeError,
  packBF16,
  packEightBits,
  packFourBits,
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
    const four = unpackWeights(packFourBits([16, 32], codes, half(16), half(16)));
    expect(Array.from(four.subarray(0, 8))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const eight = Int8Array.from({ length: 16 * 32 }, (_, i) => i);
    expect(Array.from(unpackWeights(packEightBits([16, 32], eight, half(16))))).toEqual(Array.from(eight));
    const bits = new Uint16Array(16 * 32).map((_, i) => i);
    expect(new Uint32Array(unpackWeights(packBF16([16, 32], bits)).buffer)).toEqual(
      Uint32Array.from(bits, (b) => b << 16),
    );
  });

  it('refuse parts of other sizes, and scales that are no numbers', () => {
    expect(() => packBF16([16, 31], new Uint16Array(496))).toThrow(ShapeError);
    expect(() => packEightBits([16, 32], new Int8Array(5), half(16))).toThrow(/codes has 5 elements; expected 512/);
    const scales = half(16).fill(0x7c00, 3, 4);
    expect(() => packEightBits([16, 32], new Int8Array(512), scales)).toThrow(/scales\[3\] is Infinity/);
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
