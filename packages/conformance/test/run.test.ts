import { createKernels } from '@lazy-attention/backend-reference';
import { Backend, type Kernels } from '@lazy-attention/core';
import { describe, expect, test } from 'vitest';
import { assertClose, assertIdentical, relativeError } from '../src/compare.ts';
import { type Case, conformanceCases, coverageTable, OPS, runCases } from '../src/index.ts';
import { unknownSkips } from '../src/run.ts';
import { ATTENTION_EDGES } from '../src/suites/attention.ts';

const backend = new Backend(createKernels() as Kernels);

const passing: Case = { name: 'add f32 good', op: 'add', direction: 'forward', dtype: 'f32', run: async () => {} };
const failing: Case = {
  ...passing,
  name: 'addGrad f32 bad',
  direction: 'backward',
  run: async () => {
    throw new Error('it is off', { cause: new Error('by one') });
  },
};

describe('runCases', () => {
  test('reports what passed and what failed, with the cause', async () => {
    const results = await runCases(backend, [passing, failing]);
    expect(results.map(({ status }) => status)).toEqual(['passed', 'failed']);
    expect(results[1].message).toBe('by one\nit is off');
  });

  test('a skipped test that fails is skipped with its reason, one that passes fails', async () => {
    const skip = { 'add f32 good': 'was slow', 'addGrad f32 bad': 'no such unit' };
    const results = await runCases(backend, [passing, failing], { skip });
    expect(results.map(({ status, message }) => [status, message])).toEqual([
      ['failed', 'passes now; take it off the skip list (reason given: was slow)'],
      ['skipped', 'no such unit'],
    ]);
  });

  test('names on the skip list that no test has are found', () => {
    expect(unknownSkips([passing], { 'add f32 good': '', 'add f32 godo': '' })).toEqual(['add f32 godo']);
  });

  test('what a backend leaves out is not run and not passed', async () => {
    const left: Case = { ...failing, lacks: ({ name }) => `${name} has no such kernel` };
    const results = await runCases(backend, [passing, left]);
    expect(results[1]).toMatchObject({ status: 'not offered', message: 'reference has no such kernel' });
    expect(coverageTable([{ name: 'a', results }]).split('\n')[1]).toBe('add  1/1        not offered');
    const partly = await runCases(backend, [passing, { ...left, direction: 'forward' }]);
    expect(coverageTable([{ name: 'a', results: partly }])).toContain('1/2 (1 not offered)');
  });

  test('the coverage table counts by op, backend and direction', async () => {
    const results = await runCases(backend, [passing, failing]);
    expect(
      coverageTable([
        { name: 'a', results },
        { name: 'b', results: results.slice(0, 1) },
      ]),
    ).toBe(
      ['op   a forward  backward        b forward  backward', 'add  1/1        0/1 (1 FAILED)  1/1        -'].join(
        '\n',
      ),
    );
  });
});

describe('the cases', () => {
  const cases = conformanceCases({ dtypes: ['f32', 'bf16'] });

  test('have unique names', () => {
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  test('cover every op, and every gradient', () => {
    const covered = (direction: string) =>
      new Set(cases.filter((test) => test.direction === direction).map(({ op }) => op));
    expect(OPS.filter((op) => !covered('forward').has(op))).toEqual([]);
    const constant = ['tensor', 'full', 'copyInto', 'sumSquares', 'attentionWeights', 'adamw'];
    // Their gradients are composed of other ops, by whoever records them.
    constant.push('unary', 'binary', 'reduce', 'permute', 'broadcast', 'where', 'concat', 'pad', 'gather');
    constant.push('decoder.layer', 'decoder.decode');
    expect(OPS.filter((op) => !covered('backward').has(op))).toEqual(constant);
  });

  test('name the edge cases of the specification', () => {
    const required = [
      'fully_inactive_rows_give_zero',
      'window_wider_than_keys',
      'window_of_one',
      'odd_lengths',
      'grouped_query',
      'scores_to_1e4_do_not_overflow',
      'tau_of_any_sign',
      'first_token_gives_zero_with_tau_minus_one',
      'positive_tau_only_lifts_attended_keys',
      'packed_documents',
      'left_padding',
      'sliding_window',
      'chunked_prefill',
      'decode_single_query',
      'key_capacity_larger_than_length',
      'head_dim_4',
      'head_dim_256',
      'zero_tau_equals_softmax',
      'softmax',
      'alibi',
    ];
    expect(required.filter((name) => !(name in ATTENTION_EDGES))).toEqual([]);
    const names = new Set(cases.map(({ name }) => name));
    for (const name of required) expect(names).toContain(`attention f32 ${name}`);
  });

  test('find a type that is declared but not tested', async () => {
    const [result] = await runCases(backend, cases.slice(0, 1));
    expect(result.message).toContain('declares bf16, f16, f32, f64 but conformance runs on bf16, f32');
  });
});

describe('comparison', () => {
  const one = (...values: number[]) => ({ y: { shape: [values.length], values: Float64Array.from(values) } });

  test('says where it is worst, both values, and both errors', () => {
    expect(() => assertClose('here', one(1, 2.5, 3), one(1, 2, 3), 1e-3, 0)).toThrow(
      'here: y [3] is off by 1.34e-1 (relative Frobenius error), allowed 1.00e-3; worst at [1]: got 2.5, expected 2 (absolute 5.00e-1, relative 2.50e-1)',
    );
  });

  test('NaN and missing results fail, equal infinities pass', () => {
    expect(() => assertClose('', one(Number.NaN), one(1), 1, 0)).toThrow('off by NaN');
    expect(() => assertClose('', one(1), one(Number.NaN), 1, 0)).toThrow('off by NaN');
    expect(() => assertClose('', {}, one(1), 1, 0)).toThrow('got nothing; expected y');
    assertClose('', one(Number.POSITIVE_INFINITY, 1), one(Number.POSITIVE_INFINITY, 1), 0, 0);
  });

  test('an expected zero must be zero, unless the problem has a floor', () => {
    expect(relativeError([1e-9] as never, [0] as never, 0)).toBe(Number.POSITIVE_INFINITY);
    expect(relativeError([1e-9] as never, [0] as never, 1)).toBe(1e-9);
  });

  test('identical means the same bits', () => {
    expect(() => assertIdentical('twice', one(1, 0), one(1, -0))).toThrow('twice: y[1] was 0 the first time and 0');
    assertIdentical('twice', one(Number.NaN), one(Number.NaN));
  });
});
