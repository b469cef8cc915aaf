import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { MUTATIONS } from '../scripts/mutations/list.mjs';
import { placeOf } from '../scripts/mutations/place.mjs';
import { built, tryMutation } from '../scripts/mutations/try.mjs';

// One of each kind and of each family of kernels; `npm run test:mutations` tries all.
const tried = MUTATIONS.filter(({ always }) => always);

describe.runIf(built)('kernels with a mistake are caught', { timeout: 500_000 }, () => {
  test.for(tried)('$name', async (mutation) => {
    const { caught, how } = await tryMutation(mutation);
    expect(caught, how).toBe(true);
  });
});

test.for(MUTATIONS)('$name: has one place', ({ file, from, nth }) => {
  const source = readFileSync(new URL(`../cpp/kernels/${file}`, import.meta.url), 'utf8');
  expect(placeOf(source, from, nth).length).toBe(2);
});

describe('the place of a mutation', () => {
  const source = 'a(1);\n// one\nif (x)\n  a( 1 ); // the second\nb("a(1);");';

  test('is found by tokens, however the source is laid out', () => {
    const [start, end] = placeOf(source, 'if(x) a(1);', undefined);
    expect(source.slice(start, end)).toBe('if (x)\n  a( 1 );');
    expect(placeOf(source, 'a(1); // the', undefined)[0]).toBe(source.indexOf('a( 1'));
    expect(placeOf(source, 'a(1);', 1)[0]).toBe(source.indexOf('a( 1'));
  });

  test('must be one, and be there', () => {
    expect(() => placeOf(source, 'a(1);', undefined)).toThrow(/2 places .* nth/);
    expect(() => placeOf(source, 'a(2);', undefined)).toThrow(/0 places/);
    expect(() => placeOf(source, 'a(1);', 2)).toThrow(/2 places/);
  });
});

test('the mutations that are tried cover every kind of kernel', () => {
  const files = new Set(tried.flatMap(({ file, compile = [file] }) => compile));
  expect([...files].sort()).toEqual([
    'attention_decode.cu',
    'attention_exact.cu',
    'attention_forward.cu',
    'attention_grad.cu',
    'attention_grad_hopper.cu',
    'attention_grad_wide.cu',
    'attention_hopper.cu',
    'decoder.cu',
    'matmul.cu',
    'norm.cu',
    'rows.cu',
    'sampling.cu',
    'thin.cu',
  ]);
});
