import { describe, expect, test } from 'vitest';
import { MUTATIONS } from '../scripts/mutations/list.mjs';
import { built, tryMutation } from '../scripts/mutations/try.mjs';

// One of each kind and of each family of kernels; `npm run test:mutations` tries all.
const tried = MUTATIONS.filter(({ always }) => always);

describe.runIf(built)('kernels with a mistake are caught', { timeout: 500_000 }, () => {
  test.for(tried)('$name', async (mutation) => {
    const { caught, how } = await tryMutation(mutation);
    expect(caught, how).toBe(true);
  });
});

test('the mutations that are tried cover every kind of kernel', () => {
  const files = new Set(tried.flatMap(({ file, compile = [file] }) => compile));
  expect([...files].sort()).toEqual([
    'attention_decode.cu',
    'attention_exact.cu',
    'attention_forward.cu',
    'attention_grad.cu',
    'attention_grad_wide.cu',
    'matmul.cu',
    'rows.cu',
  ]);
});
