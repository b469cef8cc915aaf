import type { LazyTransformerConfig } from '@lazy-attention/nn';
import type { Tensor } from 'onnxruntime-node';
import type { OnnxRuntime } from './runtime.ts';

/** Keys and values of the tokens so far, where the provider computes; what a run returns replaces what it was given. */
export interface OnnxCache {
  /** Rows that decode together. */
  readonly batch: number;
  /** Tokens in it. */
  readonly length: number;
  /** Whether it has been given back. */
  readonly disposed: boolean;
  /** Gives its tensors back. */
  dispose(): void;
}

/** The part that only the model sees. */
export class TensorCache implements OnnxCache {
  readonly batch: number;
  length = 0;
  disposed = false;
  /** Tokens of padding on the left of each row, which are never attended. */
  readonly padding: readonly number[];
  #tensors: Readonly<Record<string, Tensor>>;

  constructor(ort: OnnxRuntime, { numLayers, numKvHeads, headDim }: LazyTransformerConfig, padding: readonly number[]) {
    const batch = padding.length;
    this.batch = batch;
    this.padding = padding;
    const empty = () => new ort.Tensor('float32', new Float32Array(0), [batch, numKvHeads, 0, headDim]);
    this.#tensors = Object.fromEntries(presentNames(numLayers).map((name) => [pastName(name), empty()]));
  }

  /** Feeds by input name. */
  get feeds(): Readonly<Record<string, Tensor>> {
    return this.#tensors;
  }

  /** Takes over the outputs of a run on `count` more tokens. */
  advance(outputs: Readonly<Record<string, Tensor>>, count: number): void {
    const names = Object.keys(outputs).filter((name) => name.startsWith('present.'));
    const next = Object.fromEntries(names.map((name) => [pastName(name), outputs[name]]));
    this.#release();
    this.#tensors = next;
    this.length += count;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.#release();
    this.#tensors = {};
  }

  #release(): void {
    for (const tensor of Object.values(this.#tensors)) tensor.dispose();
  }
}

/** Of the outputs with keys and values, layer by layer. */
export function presentNames(layers: number): string[] {
  return Array.from({ length: layers }, (_, layer) => [`present.${layer}.key`, `present.${layer}.value`]).flat();
}

/** Of the input that takes back what an output gave. */
export function pastName(present: string): string {
  return present.replace('present.', 'past_key_values.');
}
