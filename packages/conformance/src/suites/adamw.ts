import type { AdamWOptions, FloatDType } from '@lazy-attention/core';
import fc from 'fast-check';
import type { Generator, Problem, Shape } from '../problem.ts';
import { edge, randomised, type Scenario, upTo } from '../scenario.ts';

interface Spec {
  readonly shapes: readonly Shape[];
  readonly steps?: number;
  readonly firstStep?: number;
  readonly maxNorm?: number;
  readonly gradDeviation?: number;
  readonly options?: Partial<AdamWOptions>;
}

/** Some steps over all parameters, every second of which decays. A large learning rate makes the step show. */
function steps(g: Generator, spec: Spec): Problem {
  const { shapes, steps: count = 2, firstStep = 1, maxNorm, gradDeviation = 1, options = {} } = spec;
  const fresh = firstStep === 1;
  const inputs = Object.fromEntries(
    shapes.flatMap((shape, i) => [
      [`param${i}`, g.statistics(shape)],
      [`grad${i}`, g.statistics(shape, gradDeviation)],
      [`m${i}`, g.statistics(shape, fresh ? 0 : gradDeviation)],
      [`v${i}`, g.statisticsOf(shape, () => (fresh ? 0 : gradDeviation ** 2 * (0.1 + g.random())))],
    ]),
  );
  return {
    inputs,
    forward: (ops, x) => {
      const updates = shapes.map((_, i) => ({
        param: x[`param${i}`],
        grad: x[`grad${i}`],
        m: x[`m${i}`],
        v: x[`v${i}`],
        weightDecay: i % 2 === 0 ? 0.1 : 0,
      }));
      for (let step = firstStep; step < firstStep + count; step++) {
        const clip =
          maxNorm === undefined
            ? {}
            : { clip: { normSquared: ops.sumSquares(updates.map(({ grad }) => grad)), maxNorm } };
        ops.adamw(updates, { learningRate: 0.1, step, ...clip, ...options });
      }
      return Object.fromEntries(Object.entries(x).filter(([name]) => !name.startsWith('grad')));
    },
    // A parameter may come out near zero.
    floor: gradDeviation < 1e-3 ? 0 : 1e-2,
  };
}

const OPTIONS = { differentiable: false, dtypes: ['f32', 'f64'] as const satisfies readonly FloatDType[] };

const adam = (name: string, spec: Spec): Scenario => edge('adamw', name, (g) => steps(g, spec), OPTIONS);

export const adamw: readonly Scenario[] = [
  randomised(
    'adamw',
    10,
    () => fc.record({ shapes: fc.array(fc.array(upTo(9), { maxLength: 3 }), { minLength: 1, maxLength: 5 }) }),
    steps,
    OPTIONS,
  ),
  adam('first_step', { shapes: [[33], [4, 5]], steps: 1 }),
  adam('clipped', { shapes: [[33], [4, 5]], maxNorm: 0.5 }),
  adam('norm_below_the_clip', { shapes: [[7], [2, 3]], maxNorm: 1000 }),
  adam('late_step', { shapes: [[19]], firstStep: 100_000 }),
  adam('other_options', { shapes: [[19], [6]], options: { beta1: 0.5, beta2: 0.999, epsilon: 1e-2 } }),
  adam('tiny_gradients', { shapes: [[65]], gradDeviation: 1e-12 }),
  adam('odd_lengths', { shapes: [[1], [3], [1027]] }),
  adam('many_parameters', { shapes: Array.from({ length: 60 }, (_, i) => [i + 1]), maxNorm: 1 }),
  edge(
    'adamw',
    'zero_gradient',
    (g) => {
      const problem = steps(g, { shapes: [[9]], maxNorm: 1 });
      problem.inputs.grad0.values.fill(0);
      return problem;
    },
    OPTIONS,
  ),
];
