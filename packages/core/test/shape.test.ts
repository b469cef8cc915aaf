import { describe, expect, it } from 'vitest';
import { internShape } from '../src/shape.ts';
import { stub } from './stub.ts';

describe('shapes of tensors', () => {
  it('are frozen copies of what the caller gave', () => {
    const { backend } = stub();
    const given = [2, 3];
    const x = backend.zeros(given);
    const y = backend.reshape(x, given);
    given[0] = 7;
    expect([x.shape, y.shape]).toEqual([
      [2, 3],
      [2, 3],
    ]);
    expect(() => (x.shape as number[]).push(1)).toThrow(TypeError);
    expect(given).toEqual([7, 3]);
    expect(Object.isFrozen(given)).toBe(false);
  });

  it('know their size', () => {
    const { backend } = stub();
    expect([[], [5], [2, 3, 4]].map((shape) => backend.zeros(shape).size)).toEqual([1, 5, 24]);
  });

  it('are right however many different ones there are, before and after', () => {
    const shapes = Array.from({ length: 2000 }, (_, i) => [1 + (i % 7), 1 + (i % 11), 1 + i].slice(i % 3));
    for (let round = 0; round < 2; round++) {
      for (const shape of shapes) {
        const interned = internShape(shape);
        expect(interned).toEqual(shape);
        expect(Object.isFrozen(interned)).toBe(true);
        expect(internShape([...shape])).toBe(interned);
      }
    }
  });
});
