import { expect, it } from 'vitest';
import { pace } from '../src/generate/pace.ts';

it('asks for one token, then for as many as fit a fortieth of a second, and never for more than are left or 64', () => {
  const { steps, took } = pace();
  expect(steps(100)).toBe(1);
  took(2, 1);
  expect(steps(100)).toBe(12);
  expect(steps(5)).toBe(5);
  took(30, 12);
  expect(steps(100)).toBe(10);
  took(3000, 10);
  expect(steps(100)).toBe(1);
  took(0, 1);
  expect(steps(100)).toBe(64);
});
