import fc from 'fast-check';
import type { Generator, Problem, Shape } from '../problem.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

/** Any rank from 0 to 4. */
const shapes = () => fc.array(upTo(9), { maxLength: 4 });

const binary = (op: 'add' | 'mul'): Scenario[] => {
  const make = (g: Generator, shape: Shape): Problem => ({
    inputs: { a: g.operand(shape), b: g.operand(shape) },
    forward: (ops, x) => ({ y: ops[op](x.a, x.b) }),
    backward: (ops, x, dy) => {
      const { da, db } = op === 'add' ? ops.addGrad(dy) : ops.mulGrad(dy, x.a, x.b);
      return { a: da, b: db };
    },
    dy: g.operand(shape),
  });
  const same = (g: Generator): Problem => {
    const shape = [3, 5];
    return {
      inputs: { a: g.operand(shape) },
      forward: (ops, x) => ({ y: ops[op](x.a, x.a) }),
    };
  };
  return [
    randomised(op, 15, shapes, make),
    edge(op, 'single_element', (g) => make(g, [])),
    edge(op, 'odd_lengths', (g) => make(g, [3, 337])),
    edge(op, 'both_operands_the_same_tensor', same, { differentiable: false }),
  ];
};

const scaling = (factor: number) => (g: Generator, shape: Shape) =>
  ({
    inputs: { x: g.operand(shape) },
    forward: (ops, x) => ({ y: ops.scale(x.x, factor) }),
    backward: (ops, _x, dy) => ({ x: ops.scaleGrad(dy, factor) }),
    dy: g.operand(shape),
  }) satisfies Problem;

/** Values around 1, so that the sum does not cancel and a relative error means something. */
const summing = (g: Generator, shape: Shape): Problem => ({
  inputs: { x: g.operand(shape, 0.5, 1) },
  forward: (ops, x) => ({ y: ops.sum(x.x) }),
  backward: (ops, x, dy) => ({ x: ops.sumGrad(dy, x.x.shape, x.x.dtype) }),
  dy: g.statistics([]),
});

const squares = (g: Generator, list: readonly Shape[]): Problem => ({
  inputs: Object.fromEntries(list.map((shape, i) => [`x${i}`, g.operand(shape)])),
  forward: (ops, x) => ({ y: ops.sumSquares(Object.values(x)) }),
});

const constant = { differentiable: false };

export const elementwise: readonly Scenario[] = [
  ...binary('add'),
  ...binary('mul'),
  randomised('scale', 15, shapes, scaling(-1.7)),
  edge('scale', 'factor_zero', (g) => scaling(0)(g, [4, 7])),
  edge('scale', 'factor_tiny', (g) => scaling(2 ** -12)(g, [4, 7])),
  randomised('sum', 15, shapes, summing),
  edge('sum', 'single_element', (g) => summing(g, [])),
  edge('sum', 'many_elements', (g, size) => summing(g, size === 'full' ? [7, 101, 113] : [3, 11, 113])),
  edge(
    'sum',
    'cancelling_signs',
    (g) => ({
      inputs: { x: g.operand([1000]) },
      forward: (ops, x) => ({ y: ops.sum(x.x) }),
      floor: 30,
    }),
    constant,
  ),
  randomised('sumSquares', 10, () => fc.array(shapes(), { minLength: 1, maxLength: 5 }), squares, constant),
  edge(
    'sumSquares',
    'many_tensors',
    (g) =>
      squares(
        g,
        Array.from({ length: 70 }, (_, i) => [i + 1]),
      ),
    constant,
  ),
  edge('sumSquares', 'many_elements', (g, size) => squares(g, [[size === 'full' ? 70001 : 4099], [3]]), constant),
  edge(
    'sumSquares',
    'zeros',
    (g) => {
      const x = g.operandOf([33], () => 0);
      return { inputs: { x }, forward: (ops, t) => ({ y: ops.sumSquares([t.x]) }) };
    },
    constant,
  ),
];
