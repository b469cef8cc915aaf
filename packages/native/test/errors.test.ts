import { BackendUnavailableError, DeviceLostError, OutOfMemoryError, UnsupportedError } from '@lazy-attention/core';
import { expect, test } from 'vitest';
import { typedError } from '../src/errors.ts';

const native = (code: string, more: object = {}) => Object.assign(new Error('what C++ said'), { code, ...more });

test('out of memory keeps the bytes asked for and names the op', () => {
  const error = typedError('cpu', 'matmul', native('OUT_OF_MEMORY', { requestedBytes: 4096 }));
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', requestedBytes: 4096, message: 'matmul: what C++ said' });
});

test.each([
  ['DEVICE_LOST', DeviceLostError],
  ['UNSUPPORTED', UnsupportedError],
])('%s becomes its class', (code, expected) => {
  expect(typedError('cpu', 'read', native(code))).toBeInstanceOf(expected);
});

test('an unavailable device keeps the fix', () => {
  const error = typedError('cuda', 'create', native('BACKEND_UNAVAILABLE', { fix: 'install a driver' }));
  expect(error).toBeInstanceOf(BackendUnavailableError);
  expect(error).toMatchObject({ backend: 'cuda', reason: 'what C++ said', fix: 'install a driver' });
});

test('mistakes of the layer and errors that are typed already pass unchanged', () => {
  const internal = native('INTERNAL');
  expect(typedError('cpu', 'add', internal)).toBe(internal);
  const typed = new UnsupportedError('x');
  expect(typedError('cpu', 'add', typed)).toBe(typed);
});
