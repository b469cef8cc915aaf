import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend } from '@lazy-attention/core';
import { expect, test } from 'vitest';
import { ERROR_BOUND, ERROR_BOUNDS, functionErrors } from './functions.ts';
import { open, unavailable } from './support.ts';

test('functions hold over the whole range of f32', async (context) => {
  context.skip(unavailable !== null, unavailable ?? '');
  const { backend } = await open();
  const oracle = new Backend(await reference.create({}));
  for (const [fn, error] of Object.entries(await functionErrors(backend, oracle))) {
    expect(error, fn).toBeLessThan(ERROR_BOUNDS[fn] ?? ERROR_BOUND);
  }
  await backend.dispose();
  await oracle.dispose();
});
