import { BackendUnavailableError, DeviceLostError, OutOfMemoryError, UnsupportedError } from '@lazy-attention/core';
import { expect, test } from 'vitest';
import { errorOf } from '../src/errors.ts';

test('native errors become the classes of core and name the op', () => {
  const error = errorOf('cpu')('matmul', 'OUT_OF_MEMORY', 'boom', 4096, '');
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect(error).toMatchObject({ message: 'matmul: boom', requestedBytes: 4096, code: 'OUT_OF_MEMORY' });
});

test.each([
  ['DEVICE_LOST', DeviceLostError],
  ['UNSUPPORTED', UnsupportedError],
])('%s', (code, expected) => {
  const error = errorOf('cpu')('read', code, 'boom', 0, '');
  expect(error).toBeInstanceOf(expected);
  expect(error.message).toBe('read: boom');
});

test('an unavailable backend keeps its fix', () => {
  const error = errorOf('cuda')('create', 'BACKEND_UNAVAILABLE', 'boom', 0, 'install a driver');
  expect(error).toBeInstanceOf(BackendUnavailableError);
  expect(error.message).toContain('fix: install a driver');
  expect(errorOf('cuda')('create', 'BACKEND_UNAVAILABLE', 'boom', 0, '').message).not.toContain('fix');
});

test('others are mistakes of this package, and say where', () => {
  expect(errorOf('cpu')('add', 'INTERNAL', 'buffer was freed', 0, '')).toEqual(new Error('add: buffer was freed'));
});
