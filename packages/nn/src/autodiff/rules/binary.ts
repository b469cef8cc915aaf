import type { Backend, BinaryFunction, Shape, Tensor } from '@lazy-attention/core';
import type { Backward, Recording } from '../rule.ts';

/** What a derivative reads, each held only where it is asked for. */
interface Operands {
  readonly ops: Backend;
  readonly dy: Tensor;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly y: Tensor;
}

/** dy times the derivative, in the broadcast shape; null: it is zero, or there is none. */
type Side = ((at: Operands) => Tensor) | null;

/** Which of a, b and y the two sides read. */
interface Entry {
  readonly a: Side;
  readonly b: Side;
  /** Letters of the operands that da reads, and those that db reads. */
  readonly reads: readonly [string, string];
}

const mul = (ops: Backend, a: Tensor, b: Tensor) => ops.binary('mul', a, b);
const keep = (ops: Backend, mask: Tensor, x: Tensor) => ops.binary('keep', mask, x);

/** Half of dy to each where a and b are equal, as in PyTorch and JAX. */
const larger =
  (of: 'a' | 'b', than: 'a' | 'b'): Side =>
  ({ ops, dy, ...at }) => {
    const wins = ops.binary('add', ops.binary('less', at[than], at[of]), ops.binary('lessEqual', at[than], at[of]));
    return ops.scale(mul(ops, dy, wins), 0.5);
  };

const NONE: Entry = { a: null, b: null, reads: ['', ''] };

/** One line for each function. pow: at a = 0 or b = 0 the factors that are 0 * Infinity count as 0. */
const DERIVATIVES: Readonly<Record<BinaryFunction, Entry>> = {
  add: { a: ({ dy }) => dy, b: ({ dy }) => dy, reads: ['', ''] },
  sub: { a: ({ dy }) => dy, b: ({ ops, dy }) => ops.unary('neg', dy), reads: ['', ''] },
  mul: { a: ({ ops, dy, b }) => mul(ops, dy, b), b: ({ ops, dy, a }) => mul(ops, dy, a), reads: ['b', 'a'] },
  div: {
    a: ({ ops, dy, b }) => ops.binary('div', dy, b),
    b: ({ ops, dy, b, y }) => ops.unary('neg', ops.binary('div', mul(ops, dy, y), b)),
    reads: ['b', 'by'],
  },
  pow: {
    a: ({ ops, dy, a, b }) => mul(ops, dy, keep(ops, b, mul(ops, b, ops.binary('pow', a, lessOne(ops, b))))),
    b: ({ ops, dy, a, y }) => mul(ops, dy, keep(ops, a, mul(ops, y, ops.unary('log', a)))),
    reads: ['ab', 'ay'],
  },
  max: { a: larger('a', 'b'), b: larger('b', 'a'), reads: ['ab', 'ab'] },
  min: { a: larger('b', 'a'), b: larger('a', 'b'), reads: ['ab', 'ab'] },
  less: NONE,
  lessEqual: NONE,
  equal: NONE,
  keep: { a: null, b: ({ ops, dy, a }) => keep(ops, a, dy), reads: ['', 'a'] },
};

function lessOne(ops: Backend, b: Tensor): Tensor {
  return ops.binary('sub', b, ops.full([], 1, b.dtype));
}

/** The gradient of fn(a, b), summed over what broadcasting repeated. */
export function binaryGradient(recording: Recording, fn: BinaryFunction, a: Tensor, b: Tensor, y: Tensor): Backward {
  const { ops, nodes, holdFor } = recording;
  const { reads, ...sides } = DERIVATIVES[fn];
  const readers = (letter: string) => ['a', 'b'].filter((_, side) => reads[side].includes(letter));
  const held = { a: holdFor(a, ...readers('a')), b: holdFor(b, ...readers('b')), y: holdFor(y, ...readers('y')) };
  const shapes = { a: a.shape, b: b.shape };
  const only = nodes.a === undefined || nodes.b === undefined;
  return (dy, into, exclusive) => {
    for (const side of ['a', 'b'] as const) {
      const [node, derivative] = [nodes[side], sides[side]];
      if (node === undefined || derivative === null) continue;
      const grad = ops.scope(() => sumTo(ops, derivative({ ops, dy, ...held } as Operands), shapes[side]));
      // Of add and sub the gradient may be a view of dy.
      into.add(node, grad, fn === 'add' || fn === 'sub' ? exclusive && only : true);
    }
  };
}

/** dy summed over the axes that broadcasting from `shape` repeated; a new tensor, which may share dy's memory. */
export function sumTo(ops: Backend, dy: Tensor, shape: Shape): Tensor {
  const lead = dy.shape.length - shape.length;
  const axes = dy.shape.flatMap((size, axis) => (size > 1 && (axis < lead || shape[axis - lead] === 1) ? [axis] : []));
  if (axes.length === 0) return ops.reshape(dy, shape);
  return ops.scope(() => ops.reshape(ops.reduce('sum', dy, { axes }), shape));
}
