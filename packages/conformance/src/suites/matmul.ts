import fc from 'fast-check';
import type { Generator, Problem, Shape } from '../problem.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

interface Spec {
  readonly lead: Shape;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** b has two axes and serves all leading entries of a. */
  readonly shared?: boolean;
}

function product(g: Generator, spec: Spec): Problem {
  const { lead, m, n, k, shared = false } = spec;
  const transposeA = (spec.transposeA ?? false) && !(shared && lead.length > 0);
  const transposeB = spec.transposeB ?? false;
  const bLead = shared ? [] : lead;
  const options = { transposeA, transposeB };
  const shape = [...lead, m, n];
  return {
    inputs: {
      a: g.operand(transposeA ? [...lead, k, m] : [...lead, m, k]),
      b: g.operand(transposeB ? [...bLead, n, k] : [...bLead, k, n]),
    },
    forward: (ops, x) => ({ y: ops.matmul(x.a, x.b, options) }),
    backward: (ops, x, dy) => {
      const { da, db } = ops.matmulGrad(dy, x.a, x.b, options);
      return { a: da, b: db };
    },
    dy: g.operand(shape),
    // One product of small sizes may cancel to almost nothing.
    floor: 0.1,
  };
}

function accumulating(g: Generator, spec: Spec): Problem {
  const plain = product(g, spec);
  const { lead, m, n, transposeA = false, transposeB = false } = spec;
  return {
    inputs: { ...plain.inputs, sum: g.operand([...lead, m, n], 3) },
    forward: (ops, x) => ({ y: ops.matmul(x.a, x.b, { transposeA, transposeB, accumulate: x.sum }), sum: x.sum }),
  };
}

const specs = (max: number) =>
  fc.record({
    lead: fc.array(upTo(3), { maxLength: 2 }),
    m: upTo(max),
    n: upTo(max),
    k: upTo(max),
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    shared: fc.boolean(),
  });

const TRANSPOSES: readonly [string, Partial<Spec>][] = [
  ['plain', {}],
  ['transposed_a', { transposeA: true }],
  ['transposed_b', { transposeB: true }],
  ['transposed_both', { transposeA: true, transposeB: true }],
];

/** A linear layer on a few rows, as in decoding: most of the time goes into reading b, so backends have kernels of their own for it. */
const FEW_ROWS: readonly (readonly [n: number, k: number])[] = [
  [67, 45],
  [6, 33],
  [2, 70],
  [515, 130],
];

export const matmul: readonly Scenario[] = [
  randomised('matmul', 30, (size) => specs(size === 'full' ? 40 : 20), product),
  ...TRANSPOSES.flatMap(([name, transposes]) => [
    edge('matmul', name, (g) => product(g, { lead: [2], m: 33, n: 17, k: 65, ...transposes })),
    edge('matmul', `${name}_accumulate`, (g) => accumulating(g, { lead: [2], m: 19, n: 35, k: 9, ...transposes }), {
      differentiable: false,
    }),
    edge('matmul', `${name}_beyond_one_tile`, (g, size) => {
      const large = size === 'full' ? { m: 131, n: 150, k: 277 } : { m: 66, n: 70, k: 67 };
      return product(g, { lead: [], ...large, ...transposes });
    }),
  ]),
  edge('matmul', 'multiples_of_64', (g) => product(g, { lead: [], m: 64, n: 128, k: 64 })),
  edge('matmul', 'linear_layer', (g) =>
    product(g, { lead: [2, 5], m: 3, n: 24, k: 16, shared: true, transposeB: true }),
  ),
  edge('matmul', 'one_row', (g) => product(g, { lead: [], m: 1, n: 67, k: 45, transposeB: true })),
  ...[1, 2, 3, 4].flatMap((m) =>
    FEW_ROWS.flatMap(([n, k]) => [
      edge('matmul', `${m}_rows_by_${n}_by_${k}`, (g) => product(g, { lead: [2], m, n, k, transposeB: true })),
      edge(
        'matmul',
        `${m}_rows_by_${n}_by_${k}_accumulate`,
        (g) => accumulating(g, { lead: [2], m, n, k, transposeB: true }),
        { differentiable: false },
      ),
    ]),
  ),
  edge('matmul', 'one_column', (g) => product(g, { lead: [], m: 67, n: 1, k: 45 })),
  edge('matmul', 'inner_size_of_one', (g) => product(g, { lead: [3], m: 7, n: 6, k: 1 })),
  edge('matmul', 'one_by_one', (g) => product(g, { lead: [], m: 1, n: 1, k: 1 })),
  edge('matmul', 'long_inner_size', (g, size) => product(g, { lead: [], m: 3, n: 5, k: size === 'full' ? 4099 : 515 })),
];
