import { expect, test } from 'vitest';
import { type NativeBuffer, nativeBuffers } from '../src/buffers.ts';

function fake(length = 8) {
  const given: number[] = [];
  const freed = new Int32Array(length);
  const collect = () => {
    given.push(...freed.subarray(1, 1 + freed[0]));
    freed[0] = 0;
  };
  return { given, freed, collect, ...nativeBuffers({ freed, collect }) };
}

test('a freed buffer is listed once, for the next call to take', () => {
  const { hold, free, freed } = fake();
  const buffer = hold(7);
  free(buffer);
  free(buffer);
  expect([...freed.subarray(0, 3)]).toEqual([1, 7, 0]);
  expect(buffer.id).toBe(0);
});

test('a full list is handed over, and nothing is lost', () => {
  const { hold, free, freed, collect, given } = fake(4);
  for (let id = 1; id <= 10; id++) free(hold(id));
  expect(freed[0]).toBeLessThanOrEqual(3);
  collect();
  expect(given).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('only handles that live long are watched by the collector', () => {
  const { hold, free } = fake(4096);
  const old = hold(1);
  const short: NativeBuffer[] = [];
  for (let id = 2; id < 1100; id++) {
    const buffer = hold(id);
    short.push(buffer);
    free(buffer);
  }
  expect(old.watched).toBe(true);
  expect(short.some((buffer) => buffer.watched)).toBe(false);
  free(old);
  expect(old.id).toBe(0);
});
