import type { Problem } from './problem.ts';

/**
 * A gradient is linear in dy: here it is 3 backward(dy) + backward(-2 dy), which must be backward(dy). The oracle does the
 * same sum, so what is found is a backend whose gradient depends on the size of dy.
 */
export function linearityProblem(problem: Problem): Problem {
  const { backward } = problem;
  if (backward === undefined) throw new Error('this problem has no backward');
  return {
    ...problem,
    // What is only moved is exact, but the sum of two multiples is not.
    loosen: Math.max(1, problem.loosen ?? 1),
    backward: (ops, x, dy) => {
      const once = backward(ops, x, dy);
      const twice = backward(ops, x, ops.scale(dy, -2));
      return Object.fromEntries(
        Object.keys(once).map((name) => [name, ops.add(ops.scale(once[name], 3), twice[name])]),
      );
    },
  };
}
