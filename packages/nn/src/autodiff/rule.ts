import type { Backend, Ops, SavedAttention, Tensor } from '@lazy-attention/core';
import type { Gradients } from './gradients.ts';

/** What a step's `backward` may read later. */
export type Held = Tensor | SavedAttention;

/** Turns the gradient of an op's output into contributions to its inputs. `exclusive`: dy's memory is this step's own. */
export type Backward = (dy: Tensor, into: Gradients, exclusive: boolean) => void;

/** What the backward sweep does for one op. */
export interface Step {
  /** Node of the op's output. */
  readonly output: number;
  /** Nodes of its inputs, to whose gradients `backward` adds. */
  readonly inputs: readonly number[];
  readonly backward: Backward;
  /** What `backward` reads, held since the forward pass and let go right after it. */
  readonly held: readonly Held[];
  /** How often the memory of each had been written then; 0 for what is not a tensor. */
  readonly versions: readonly number[];
}

/** By which a tensor that was written in place since is found. */
export function versionOf(held: Held): number {
  return 'version' in held ? held.version : 0;
}

/** Ops that write down what they do, and what was written. */
export interface Recorder {
  /** Runs every op on the backend; one that depends on a variable becomes a step. */
  readonly ops: Ops;
  /** In the order of the forward pass; the sweep takes them from the end. */
  readonly steps: Step[];
  /** Declares an input of the whole function; its gradient will be that of the returned node, a new one or the given. */
  variable(x: Tensor, node?: number): number;
  /** The node of x, or undefined when nothing it depends on needs a gradient. @throws ValueError for a refused tensor */
  nodeOf(op: string, name: string, x: Tensor | undefined): number | undefined;
  /** From here on `ops` refuse to work. */
  close(): void;
}

/** What the recorder gives a rule to work with. */
export interface Recording {
  /** Runs the op and its gradient; nothing of it is recorded. */
  readonly ops: Backend;
  /** Nodes of the inputs by their names; undefined for one that needs no gradient. */
  readonly nodes: Readonly<Record<string, number | undefined>>;
  /** A view of x that lives until the backward sweep has passed, whatever happens to x. */
  hold(x: Tensor): Tensor;
  /** As `hold`, for a tensor that only the gradient of `inputs` needs: nothing is held where none of them has a node. */
  holdFor(x: Tensor, ...inputs: string[]): Tensor | undefined;
  /** A recorder whose nodes are numbered on from this one's: its sweep may add to the gradients of this one's nodes. */
  nested(): Recorder;
}

/** How one call is differentiated. */
export interface Recorded<R> {
  /** What the caller gets. */
  readonly result: R;
  /** The tensor in it that has a gradient; undefined: none has. */
  readonly output: Tensor | undefined;
  /** What is disposed after `backward`, besides what `hold` gave. */
  readonly held?: readonly Held[];
  /** The gradient. */
  readonly backward: Backward;
  /** Tensors that no later op may take, and why. */
  readonly refused?: readonly (readonly [tensor: Tensor, reason: string])[];
}

/** How an op with arguments A and result R is recorded. */
export interface Rule<A extends readonly unknown[], R> {
  /** The tensors that the op takes, by the names that its messages use; undefined for one that was left out. */
  inputs(...args: A): Readonly<Record<string, Tensor | undefined>>;
  /** Runs the op when no input needs a gradient. */
  plain(ops: Backend, ...args: A): R;
  /** Whether `record` is called also when no input needs a gradient, for what it refuses. */
  readonly always?: boolean;
  /** Runs the op and says how to differentiate it. */
  record(recording: Recording, ...args: A): Recorded<R>;
}

/** How to differentiate an op whose result y is one tensor. */
type Gradient<A extends readonly unknown[]> = (recording: Recording, y: Tensor, args: A) => Backward;

/** A rule for an op whose result is one tensor. */
export function rule<A extends readonly unknown[]>(
  inputs: Rule<A, Tensor>['inputs'],
  plain: Rule<NoInfer<A>, Tensor>['plain'],
  gradient: Gradient<NoInfer<A>>,
): Rule<A, Tensor> {
  return {
    inputs,
    plain,
    record(recording, ...args) {
      const result = plain(recording.ops, ...args);
      return { result, output: result, backward: gradient(recording, result, args) };
    },
  };
}
