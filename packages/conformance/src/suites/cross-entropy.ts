import fc from 'fast-check';
import type { Generator, HostTensor, Problem, Shape } from '../problem.ts';
import { integer } from '../random.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

interface Spec {
  readonly rows: Shape;
  readonly vocabulary: number;
  /** Share of ignored rows; the first row always counts. */
  readonly ignored?: number;
  readonly ignoreIndex?: number;
  readonly count?: number;
  readonly logits?: HostTensor;
  readonly floor?: number;
}

function loss(g: Generator, spec: Spec): Problem {
  const { rows, vocabulary, ignored = 0 } = spec;
  const options = {
    ...(spec.ignoreIndex === undefined ? {} : { ignoreIndex: spec.ignoreIndex }),
    ...(spec.count === undefined ? {} : { count: spec.count }),
  };
  const ignoreIndex = spec.ignoreIndex ?? -100;
  const other = (ignoreIndex + 1) % vocabulary;
  const target = (i: number) => {
    if (i > 0 && g.random() < ignored) return ignoreIndex;
    const id = integer(g.random, 0, vocabulary - 1);
    return i === 0 && id === ignoreIndex ? other : id;
  };
  return {
    inputs: { logits: spec.logits ?? g.operand([...rows, vocabulary], 2), targets: g.indices(rows, target) },
    forward: (ops, x) => {
      const { loss: y, lse } = ops.crossEntropy(x.logits, x.targets, options);
      return { y, lse };
    },
    backward: (ops, x, dy) => {
      const { lse } = ops.crossEntropy(x.logits, x.targets, options);
      return { logits: ops.crossEntropyGrad(dy, x.logits, x.targets, lse, options) };
    },
    dy: g.statistics([], 0.5, 1),
    // One row that hits its target, or a vocabulary of one, has a loss near zero.
    floor: spec.floor ?? 1e-2,
  };
}

const specs = () =>
  fc.record({
    rows: fc.array(upTo(6), { minLength: 1, maxLength: 3 }),
    vocabulary: fc.integer({ min: 2, max: 90 }),
    ignored: fc.constantFrom(0, 0.5),
  });

export const crossEntropy: readonly Scenario[] = [
  randomised('crossEntropy', 20, specs, loss),
  edge('crossEntropy', 'ignored_rows', (g) => loss(g, { rows: [40], vocabulary: 11, ignored: 0.6 })),
  edge('crossEntropy', 'ignore_index_inside_the_vocabulary', (g) =>
    loss(g, { rows: [4, 9], vocabulary: 5, ignoreIndex: 0 }),
  ),
  edge('crossEntropy', 'one_row_counts', (g) => loss(g, { rows: [17], vocabulary: 8, ignored: 1 })),
  edge('crossEntropy', 'part_of_a_larger_batch', (g) =>
    loss(g, { rows: [17], vocabulary: 8, ignored: 0.5, count: 23 }),
  ),
  edge('crossEntropy', 'single_row', (g) => loss(g, { rows: [], vocabulary: 30 })),
  edge('crossEntropy', 'vocabulary_of_one', (g) => loss(g, { rows: [6], vocabulary: 1 })),
  edge('crossEntropy', 'wide_vocabulary', (g, size) =>
    loss(g, { rows: [5], vocabulary: size === 'full' ? 32003 : 1031 }),
  ),
  // One by one, e^-17 is lost in a sum of f32 that holds the 1 already.
  edge('crossEntropy', 'many_small_probabilities_count', (g, size) => {
    const vocabulary = size === 'full' ? 100_003 : 25_001;
    const logits = g.operandOf([3, vocabulary], (i) => (i % vocabulary === 5 * Math.floor(i / vocabulary) ? 0 : -17));
    return loss(g, { rows: [3], vocabulary, logits, floor: 1 });
  }),
  edge('crossEntropy', 'many_rows', (g, size) => loss(g, { rows: [size === 'full' ? 2049 : 259], vocabulary: 7 })),
  // Exact multiples of 512 in every type: the softmax saturates, but nothing may overflow.
  edge('crossEntropy', 'logits_to_1e4_do_not_overflow', (g) =>
    loss(g, { rows: [12], vocabulary: 9, logits: g.operandOf([12, 9], (i) => 1024 * (((i * 7) % 19) - 9)) }),
  ),
  edge('crossEntropy', 'equal_logits', (g) =>
    loss(g, { rows: [5], vocabulary: 16, logits: g.operandOf([5, 16], () => 3) }),
  ),
];
