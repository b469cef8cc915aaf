import { BINARY_FUNCTIONS, type BinaryFunction, UNARY_FUNCTIONS, type UnaryFunction } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Generator, HostTensor, Problem, Shape } from '../problem.ts';
import { normal } from '../random.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

/** Draws one operand's values. */
type Domain = (g: Generator) => number;

/** Positive, around 1, over about three powers of ten. */
const positive: Domain = (g) => Math.exp(normal(g.random));
const signed: Domain = (g) => Math.sign(g.random() - 0.5) * positive(g);
const spread =
  (deviation: number): Domain =>
  (g) =>
    deviation * normal(g.random);

/** Whole numbers near zero, so that many are equal. */
const whole: Domain = (g) => Math.round(2 * normal(g.random));

const UNARY_DOMAINS: Readonly<Record<UnaryFunction, Domain>> = {
  neg: spread(1),
  exp: spread(2),
  log: positive,
  sqrt: positive,
  rsqrt: positive,
  abs: spread(1),
  sign: whole,
  sin: (g) => 100 * (2 * g.random() - 1),
  cos: (g) => 100 * (2 * g.random() - 1),
  tanh: spread(2),
  sigmoid: spread(3),
  softplus: spread(3),
  relu: spread(1),
  silu: spread(3),
  gelu: spread(2),
  reciprocal: signed,
  square: spread(2),
};

const BINARY_DOMAINS: Readonly<Record<BinaryFunction, readonly [a: Domain, b: Domain]>> = {
  add: [spread(1), spread(1)],
  sub: [spread(1), spread(1)],
  mul: [spread(1), spread(1)],
  div: [spread(1), signed],
  pow: [(g) => Math.exp(0.5 * normal(g.random)), spread(1.5)],
  max: [whole, whole],
  min: [spread(1), spread(1)],
  less: [whole, whole],
  lessEqual: [whole, whole],
  equal: [whole, whole],
  keep: [whole, spread(1)],
};

/** These round nothing, so the result is the reference's bit for bit. */
const EXACT: ReadonlySet<UnaryFunction | BinaryFunction> = new Set([
  'neg',
  'abs',
  'sign',
  'relu',
  'max',
  'min',
  'less',
  'lessEqual',
  'equal',
  'keep',
] as const);

const exactness = (fn: UnaryFunction | BinaryFunction) => (EXACT.has(fn) ? { loosen: 0 } : {});

/** What every function must say something about, and a few plain numbers. */
const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 1, -1, 2, -2, 0.5, -0.5, 3];

/** Where functions of a real number saturate; all are numbers in every type. */
const FAR = [30, -30, 100, -100, 1e4, -1e4];

const constant = { differentiable: false };
const shapes = () => fc.array(upTo(9), { maxLength: 4 });

const applying = (fn: UnaryFunction, x: HostTensor): Problem => ({
  inputs: { x },
  forward: (ops, t) => ({ y: ops.unary(fn, t.x) }),
  ...exactness(fn),
});

const unary = UNARY_FUNCTIONS.flatMap((fn): Scenario[] => {
  const domain = UNARY_DOMAINS[fn];
  const make = (g: Generator, shape: Shape) =>
    applying(
      fn,
      g.operandOf(shape, () => domain(g)),
    );
  const near = (g: Generator) =>
    applying(
      fn,
      g.operandOf([257], () => 0.05 * Math.abs(normal(g.random)) + 1e-3),
    );
  return [
    randomised('unary', 5, shapes, make, { ...constant, name: `${fn}_of_random_shapes` }),
    edge('unary', `${fn}_odd_length`, (g) => make(g, [3, 337]), constant),
    edge('unary', `${fn}_near_zero`, near, constant),
    edge('unary', `${fn}_of_special_values`, (g) => special(fn, g), constant),
  ];
});

/** One element each, so that a large one does not cover an error in a small one. */
function special(fn: UnaryFunction, g: Generator): Problem {
  const growing = fn === 'exp' || fn === 'square'; // would leave the range of f16
  const values = growing ? SPECIAL : [...SPECIAL, ...FAR];
  // Beyond 1000 a sine is as good as its angle's last bit.
  const kept =
    fn === 'sin' || fn === 'cos' ? values.filter((x) => !(Math.abs(x) > 1000) || !Number.isFinite(x)) : values;
  const inputs = Object.fromEntries(kept.map((value) => [`of ${value}`, g.operandOf([1], () => value)]));
  return {
    inputs,
    forward: (ops, x) => Object.fromEntries(Object.keys(inputs).map((name) => [name, ops.unary(fn, x[name])])),
    allowNaN: true,
    // sigmoid(-30) and the like are tiny; sin of 100 rounds its angle.
    floor: 1e-2,
    ...exactness(fn),
  };
}

/** A random shape, and two operands that are broadcast to it. */
const broadcasts = () =>
  fc
    .tuple(fc.array(upTo(5), { maxLength: 5 }), fc.nat(5), fc.nat(5), fc.nat(31), fc.nat(31))
    .map(([shape, dropA, dropB, onesA, onesB]) => {
      const part = (drop: number, ones: number) =>
        shape.map((size, axis) => ((ones >> axis) & 1 ? 1 : size)).slice(Math.min(drop, shape.length));
      // Only one of the two may be short or repeated at an axis; the other keeps its size.
      return { a: part(dropA, onesA & ~onesB), b: dropA > 0 ? part(0, onesB) : part(dropB, onesB) };
    });

interface Pair {
  readonly a: Shape;
  readonly b: Shape;
}

const combining = (fn: BinaryFunction, g: Generator, { a, b }: Pair): Problem => {
  const [domainA, domainB] = BINARY_DOMAINS[fn];
  return {
    inputs: { a: g.operandOf(a, () => domainA(g)), b: g.operandOf(b, () => domainB(g)) },
    forward: (ops, x) => ({ y: ops.binary(fn, x.a, x.b) }),
    ...exactness(fn),
  };
};

/** How operands meet, by name; the letters of spec §Shapes and symbols do not matter here. */
const MEETINGS: Readonly<Record<string, Pair>> = {
  single_elements: { a: [], b: [] },
  a_scalar_on_the_left: { a: [], b: [7, 33] },
  a_scalar_on_the_right: { a: [7, 33], b: [1] },
  a_row: { a: [19, 65], b: [65] },
  a_column: { a: [19, 65], b: [19, 1] },
  a_column_on_the_left: { a: [5, 1], b: [5, 129] },
  a_row_and_a_column: { a: [1, 67], b: [31, 1] },
  a_middle_axis: { a: [3, 1, 17], b: [3, 9, 17] },
  an_outer_axis: { a: [4, 3, 5], b: [1, 3, 5] },
  alternating_axes: { a: [2, 1, 3, 1, 2], b: [1, 3, 1, 2, 1] },
  eight_axes: { a: [2, 1, 2, 1, 2, 1, 2, 1], b: [1, 2, 1, 3, 1, 2, 1, 2] },
  many_rows: { a: [1031, 3], b: [3] },
  long_rows: { a: [3, 4099], b: [3, 1] },
};

const binary = BINARY_FUNCTIONS.flatMap((fn): Scenario[] => {
  const pairs = (g: Generator): Problem => {
    const table = (shape: Shape) => g.operandOf(shape, (i) => SPECIAL[i]);
    return {
      inputs: { a: table([SPECIAL.length, 1]), b: table([SPECIAL.length]) },
      forward: (ops, x) => ({ y: ops.binary(fn, x.a, x.b) }),
      allowNaN: true,
      ...exactness(fn),
    };
  };
  const itself = (g: Generator): Problem => ({
    inputs: { x: g.operandOf([5, 13], () => 0.25 + 2 * g.random()) },
    forward: (ops, x) => ({ y: ops.binary(fn, x.x, x.x) }),
    ...exactness(fn),
  });
  return [
    randomised('binary', 8, broadcasts, (g, pair) => combining(fn, g, pair), {
      ...constant,
      name: `${fn}_of_random_shapes`,
    }),
    edge('binary', `${fn}_odd_lengths`, (g) => combining(fn, g, { a: [3, 337], b: [3, 337] }), constant),
    edge('binary', `${fn}_of_special_values`, pairs, constant),
    edge('binary', `${fn}_of_a_tensor_with_itself`, itself, constant),
  ];
});

const meetings = Object.entries(MEETINGS).flatMap(([name, pair]) =>
  (['sub', 'mul'] as const).map((fn) => edge('binary', `${fn}_with_${name}`, (g) => combining(fn, g, pair), constant)),
);

/** unary and binary. */
export const primitives: readonly Scenario[] = [...unary, ...binary, ...meetings];
