import fc from 'fast-check';
import type { Generator, Problem, Shape } from '../problem.ts';
import { integer } from '../random.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

interface Norm {
  readonly shape: Shape;
  readonly epsilon?: number;
  readonly deviation?: number;
}

const norm = (g: Generator, { shape, epsilon, deviation = 1 }: Norm): Problem => {
  const options = epsilon === undefined ? {} : { epsilon };
  return {
    inputs: { x: g.operand(shape, deviation), weight: g.operand(shape.slice(-1), 0.3, 1) },
    forward: (ops, x) => ({ y: ops.rmsNorm(x.x, x.weight, options) }),
    backward: (ops, x, dy) => {
      const { dx, dweight } = ops.rmsNormGrad(dy, x.x, x.weight, options);
      return { x: dx, weight: dweight };
    },
    dy: g.operand(shape),
    // With a row of one or two elements the gradient of x all but cancels.
    floor: 1e-2,
  };
};

const normShapes = () => fc.record({ shape: fc.tuple(upTo(6), upTo(9), upTo(70)) });

export const rmsNorm: readonly Scenario[] = [
  randomised('rmsNorm', 20, normShapes, norm),
  edge('rmsNorm', 'one_axis', (g) => norm(g, { shape: [37] })),
  edge('rmsNorm', 'width_of_one', (g) => norm(g, { shape: [5, 1] })),
  edge('rmsNorm', 'wide_rows', (g, size) => norm(g, { shape: [3, size === 'full' ? 2051 : 517] })),
  edge('rmsNorm', 'many_rows', (g, size) => norm(g, { shape: [size === 'full' ? 1031 : 131, 12] })),
  edge('rmsNorm', 'large_epsilon', (g) => norm(g, { shape: [4, 16], epsilon: 0.5 })),
  edge('rmsNorm', 'small_values_feel_epsilon', (g) => norm(g, { shape: [4, 16], deviation: 1e-3 })),
  edge('rmsNorm', 'large_values', (g) => norm(g, { shape: [4, 16], deviation: 1e3 })),
  edge('rmsNorm', 'zero_row', (g) => {
    const problem = norm(g, { shape: [3, 8], epsilon: 1e-2 });
    problem.inputs.x.values.fill(0, 8, 16);
    return problem;
  }),
];

interface Turn {
  readonly shape: Shape;
  readonly base?: number;
  readonly offset?: number;
}

const turn = (g: Generator, { shape, base, offset }: Turn): Problem => {
  const options = { ...(base === undefined ? {} : { base }), ...(offset === undefined ? {} : { offset }) };
  return {
    inputs: { x: g.operand(shape) },
    forward: (ops, x) => ({ y: ops.rope(x.x, options) }),
    backward: (ops, _x, dy) => ({ x: ops.ropeGrad(dy, options) }),
    dy: g.operand(shape),
  };
};

const turns = () =>
  fc.record({
    shape: fc.tuple(
      upTo(3),
      upTo(20),
      upTo(4),
      upTo(20).map((half) => 2 * half),
    ),
    offset: fc.nat(4000),
  });

export const rope: readonly Scenario[] = [
  randomised('rope', 20, turns, turn),
  edge('rope', 'offset', (g) => turn(g, { shape: [2, 5, 3, 16], offset: 77 })),
  edge('rope', 'position_of_a_million', (g) => turn(g, { shape: [1, 6, 2, 64], offset: 1_000_000 })),
  edge('rope', 'large_base', (g) => turn(g, { shape: [1, 40, 2, 32], base: 500_000 })),
  edge('rope', 'head_dim_2', (g) => turn(g, { shape: [2, 9, 1, 2] })),
  edge('rope', 'head_dim_256', (g) => turn(g, { shape: [1, 7, 2, 256] })),
  edge('rope', 'single_row', (g) => turn(g, { shape: [3, 1, 2, 8], offset: 12 })),
];

const gated = (g: Generator, shape: Shape, deviation = 1): Problem => ({
  inputs: { gate: g.operand(shape, deviation), up: g.operand(shape) },
  forward: (ops, x) => ({ y: ops.swiglu(x.gate, x.up) }),
  backward: (ops, x, dy) => {
    const { dgate, dup } = ops.swigluGrad(dy, x.gate, x.up);
    return { gate: dgate, up: dup };
  },
  dy: g.operand(shape),
  floor: 1e-2,
});

export const swiglu: readonly Scenario[] = [
  randomised(
    'swiglu',
    20,
    () => fc.array(upTo(9), { maxLength: 4 }),
    (g, shape) => gated(g, shape),
  ),
  edge('swiglu', 'large_gates', (g) => gated(g, [5, 40], 60)),
  edge('swiglu', 'odd_lengths', (g) => gated(g, [3, 1009])),
];

interface Lookup {
  readonly ids: Shape;
  readonly vocabulary: number;
  readonly width: number;
  /** The same id everywhere. */
  readonly single?: number;
}

const lookup = (g: Generator, { ids, vocabulary, width, single }: Lookup): Problem => ({
  inputs: {
    weight: g.operand([vocabulary, width]),
    ids: g.indices(ids, () => single ?? integer(g.random, 0, vocabulary - 1)),
  },
  forward: (ops, x) => ({ y: ops.embedding(x.weight, x.ids) }),
  backward: (ops, x, dy) => ({ weight: ops.embeddingGrad(dy, x.ids, vocabulary) }),
  dy: g.operand([...ids, width]),
  floor: 1e-2,
});

const lookups = () =>
  fc.record({ ids: fc.array(upTo(8), { minLength: 1, maxLength: 3 }), vocabulary: upTo(50), width: upTo(20) });

export const embedding: readonly Scenario[] = [
  randomised('embedding', 20, lookups, lookup),
  edge('embedding', 'repeated_ids', (g) => lookup(g, { ids: [2, 40], vocabulary: 3, width: 8 })),
  edge('embedding', 'all_ids_the_same', (g) => lookup(g, { ids: [90], vocabulary: 7, width: 5, single: 6 })),
  edge('embedding', 'vocabulary_of_one', (g) => lookup(g, { ids: [3, 2], vocabulary: 1, width: 4 })),
  edge('embedding', 'scalar_id', (g) => lookup(g, { ids: [], vocabulary: 5, width: 12 })),
  edge('embedding', 'wide_rows', (g) => lookup(g, { ids: [4], vocabulary: 300, width: 515 })),
];
