import { type Backend, type Ops, type Tensor, ValueError } from '@lazy-attention/core';
import { type Held, type Recorder, type Rule, type Step, versionOf } from './rule.ts';
import * as arithmetic from './rules/arithmetic.ts';
import * as attention from './rules/attention.ts';
import * as layers from './rules/layers.ts';
import * as primitives from './rules/primitives.ts';

/** Ops that compute something: all but what says how they run. */
type Computing = Omit<Ops, 'records' | 'scope' | 'decoder'>;

/** How each op is differentiated. */
const RULES: { readonly [Op in keyof Computing]: Rule<Parameters<Computing[Op]>, ReturnType<Computing[Op]>> } = {
  ...arithmetic,
  ...layers,
  ...attention,
  ...primitives,
};

/** Where nodes get their numbers: one for recorders whose gradients meet. */
interface Numbers {
  next: number;
}

/**
 * Runs every op on `plain` and writes down how to differentiate it, by the table of rules. An op none of whose inputs depends
 * on a variable is not written down.
 *
 * What a step needs it holds through views of its own, so a model may dispose any tensor when it has no more use for it.
 */
export function createRecorder(plain: Backend, numbers: Numbers = { next: 0 }): Recorder {
  const nodes = new Map<Tensor, number>();
  /** Tensors that must not enter another op, and why. */
  const refused = new Map<Tensor, string>();
  const steps: Step[] = [];
  let closed = false;

  const variable = (x: Tensor, node = numbers.next++): number => {
    nodes.set(x, node);
    return node;
  };
  const nodeOf = (op: string, name: string, x: Tensor | undefined): number | undefined => {
    if (closed) throw new ValueError(`${op}: ops used after the function they were given to has returned`);
    if (x === undefined) return undefined;
    const refusal = refused.get(x);
    if (refusal !== undefined) throw new ValueError(`${op}: ${name} ${refusal}`);
    return nodes.get(x);
  };

  const nested = () => createRecorder(plain, numbers);

  /** One call of an op. */
  const call = <A extends readonly unknown[], R>(op: string, rule: Rule<A, R>, args: A): R => {
    const inputs: Record<string, number | undefined> = {};
    let needed = false;
    for (const [name, x] of Object.entries(rule.inputs(...args))) {
      inputs[name] = nodeOf(op, name, x);
      needed ||= inputs[name] !== undefined;
    }
    if (!needed && rule.always !== true) return rule.plain(plain, ...args);
    const held: Held[] = [];
    const hold = (x: Tensor): Tensor => {
      const view = plain.reshape(x, x.shape);
      held.push(view);
      return view;
    };
    const holdFor = (x: Tensor, ...names: string[]) =>
      names.some((name) => inputs[name] !== undefined) ? hold(x) : undefined;
    const recorded = rule.record({ ops: plain, nodes: inputs, hold, holdFor, nested }, ...args);
    held.push(...(recorded.held ?? []));
    for (const [tensor, reason] of recorded.refused ?? []) refused.set(tensor, reason);
    if (needed && recorded.output !== undefined) {
      const versions = held.map(versionOf);
      const from = Object.values(inputs).filter((node) => node !== undefined);
      steps.push({ output: variable(recorded.output), inputs: from, held, versions, backward: recorded.backward });
    }
    return recorded.result;
  };

  const recording = Object.fromEntries(
    Object.entries(RULES).map(([op, rule]) => [
      op,
      (...args: readonly unknown[]) => call(op, rule as unknown as Rule<readonly unknown[], unknown>, args),
    ]),
  ) as unknown as Computing;
  /** Disposes what fn made, but for what the steps hold. */
  const scope = <T>(fn: () => T): T => {
    const first = steps.length;
    return plain.scope(() => ({ result: fn(), held: steps.slice(first).map((step) => step.held) })).result;
  };
  const close = () => {
    closed = true;
  };
  return { ops: { records: true, scope, ...recording }, steps, variable, nodeOf, close };
}
