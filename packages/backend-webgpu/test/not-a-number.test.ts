import { provider as reference } from '@lazy-attention/backend-reference';
import { Backend } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { hiddenNumbers } from './not-a-number.ts';
import { openWith, unavailable } from './support.ts';

// spec §Not a number, with every kind of kernel; the conformance suite sees only the one that the adapter takes.
describe.skipIf(unavailable !== null)(`not a number${unavailable === null ? '' : `: ${unavailable}`}`, () => {
  test.each([
    ['kernels for software adapters', { software: true }],
    ['kernels for GPUs, without subgroups', { software: false, subgroups: false }],
  ])('%s hide none', async (_, capabilities) => {
    const backend = await openWith(capabilities);
    const oracle = new Backend(await reference.create({}));
    expect(await hiddenNumbers(backend, oracle)).toEqual([]);
    await backend.dispose();
    await oracle.dispose();
  });
});
