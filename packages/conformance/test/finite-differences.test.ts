import { describe, expect, test } from 'vitest';
import { evaluate, oracle } from '../src/evaluate.ts';
import type { HostTensor, Problem } from '../src/problem.ts';
import { named, normal } from '../src/random.ts';
import type { Scenario } from '../src/scenario.ts';
import { scenarios } from '../src/scenarios.ts';

/**
 * The reference's gradients against differences of its own forward passes in float64, on every problem of the suite:
 * d/dt sum(dy * y(x + t d)) at t = 0 is sum(gradient * d), along single elements and along random directions.
 */

const TOLERANCE = 1e-6;

/** Step over the size of what is varied. Small enough to stay clear of the kinks, from which problems keep away. */
const STEP = 1e-5;
/** Where values are larger than this they are offsets, and what matters happens on a smaller scale. */
const LARGEST_SIZE = 1e3;

/** Exactly on the kink of the ReLU the derivative by tau has two sides; spec §Backward takes the inactive one. */
const ON_A_KINK = new Set([
  'first_token_gives_zero_with_tau_minus_one',
  'first_tokens_of_documents_give_zero',
  'tau_minus_one_exactly',
]);

/** Casts round, so differences of theirs mean nothing. */
const differentiable = scenarios.filter((scenario) => scenario.differentiable && scenario.op !== 'cast');

test('every op with a gradient is here', () => {
  const ops = new Set(differentiable.map(({ op }) => op));
  const all = new Set(scenarios.filter((scenario) => scenario.differentiable).map(({ op }) => op));
  expect([...all].filter((op) => !ops.has(op))).toEqual(['cast']);
});

describe('gradients equal finite differences', () => {
  test.for(differentiable.map((scenario) => [`${scenario.op} ${scenario.name}`, scenario] as const))(
    '%s',
    { timeout: 60_000 },
    async ([, scenario]) => {
      await scenario.each('f64', 'small', (problem) => checkProblem(problem, scenario));
    },
  );
});

async function checkProblem(problem: Problem, scenario: Scenario): Promise<void> {
  const gradients = await evaluate(oracle(), problem, 'f64', 'backward');
  const random = named('directions');
  for (const [name, { values: gradient }] of Object.entries(gradients)) {
    if (name === 'tau' && ON_A_KINK.has(scenario.name)) continue;
    const typical = rootMeanSquare(gradient);
    for (const direction of directions(gradient.length, random)) {
      const expected = await slope(problem, name, direction);
      const actual = dot(gradient, direction);
      const error = Math.abs(actual - expected);
      const allowed = TOLERANCE * Math.max(typical, Math.abs(expected)) + 1e-9;
      expect(error <= allowed, `gradient of ${name}: ${actual}, by differences ${expected}`).toBe(true);
    }
  }
}

/** Two single elements and two directions of length one. */
function directions(size: number, random: () => number): Float64Array[] {
  const single = () => {
    const direction = new Float64Array(size);
    direction[Math.floor(random() * size)] = 1;
    return direction;
  };
  const any = () => {
    const direction = Float64Array.from({ length: size }, () => normal(random));
    const length = Math.sqrt(dot(direction, direction));
    return direction.map((value) => value / length);
  };
  return [single(), single(), any(), any()];
}

/** By the five-point rule, whose error is of the fourth order in the step. */
async function slope(problem: Problem, name: string, direction: Float64Array): Promise<number> {
  const h = STEP * Math.min(rootMeanSquare(problem.inputs[name].values) || 1, LARGEST_SIZE);
  const at = (steps: number) => value(shifted(problem, name, direction, steps * h));
  return (8 * ((await at(1)) - (await at(-1))) - ((await at(2)) - (await at(-2)))) / (12 * h);
}

/** sum(dy * y) */
async function value(problem: Problem): Promise<number> {
  const { y } = await evaluate(oracle(), problem, 'f64', 'forward');
  return dot(y.values, (problem.dy as HostTensor).values);
}

function shifted(problem: Problem, name: string, direction: Float64Array, distance: number): Problem {
  const host = problem.inputs[name];
  const values = Float64Array.from(host.values, (element, i) => element + distance * direction[i]);
  return { ...problem, inputs: { ...problem.inputs, [name]: { ...host, values } } };
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

function rootMeanSquare(values: ArrayLike<number>): number {
  return Math.sqrt(dot(values, values) / values.length);
}
