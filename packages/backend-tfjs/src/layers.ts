import { ValueError } from '@lazy-attention/core';
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers } from '@tensorflow/tfjs-layers';
import { lazyAttention } from './custom-op.ts';
import { project, rope } from './projections.ts';

/** What `lazyAttentionLayer` takes. */
export interface LazyAttentionLayerArgs {
  /** H */
  readonly heads: number;
  /** Hkv, divides H. Default H. */
  readonly kvHeads?: number;
  /** D, a multiple of 4, even for RoPE. Default: size of the input / H. */
  readonly headDim?: number;
  /** W of the learnable bias per head and distance; 0: no bias. Default 512. */
  readonly window?: number;
  /** Elastic-Softmax with a learnable tau per head; false: plain softmax. Default true. */
  readonly elastic?: boolean;
  /** Base of RoPE; 0: none. Default 10000. */
  readonly ropeBase?: number;
  /** As of every tfjs layer; made up when left out. */
  readonly name?: string;
  /** False: its weights are left as they are. Default true. */
  readonly trainable?: boolean;
}

type LayerWeight = ReturnType<layers.Layer['addWeight']>;
type LayerShape = (number | null)[];

/**
 * Causal Lazy Attention as a layer of tfjs-layers: projections, RoPE, attention, output projection, on input and output
 * [batch, length, size]. Its own gradients throughout; save and load as with any layer once this module is imported.
 */
class LazyAttentionLayer extends layers.Layer {
  static className = 'LazyAttention';

  readonly #args: LazyAttentionLayerArgs;
  #q!: LayerWeight;
  #k!: LayerWeight;
  #v!: LayerWeight;
  #o!: LayerWeight;
  #bias: LayerWeight | undefined;
  #tau: LayerWeight | undefined;
  #headDim = 0;

  constructor(args: LazyAttentionLayerArgs) {
    super({
      ...(args.name === undefined ? {} : { name: args.name }),
      ...(args.trainable === undefined ? {} : { trainable: args.trainable }),
    });
    const { heads, kvHeads = heads, window = 512, ropeBase = 10000 } = args;
    positive('heads', heads);
    positive('kvHeads', kvHeads);
    if (heads % kvHeads !== 0) {
      throw new ValueError(`LazyAttention: kvHeads is ${kvHeads}; expected a divisor of heads (${heads})`);
    }
    if (args.headDim !== undefined) positive('headDim', args.headDim);
    if (!Number.isInteger(window) || window < 0) {
      throw new ValueError(`LazyAttention: window is ${window}; expected an integer from 0`);
    }
    if (!(ropeBase >= 0)) throw new ValueError(`LazyAttention: ropeBase is ${ropeBase}; expected a number from 0`);
    this.#args = args;
  }

  override build(inputShape: LayerShape): void {
    const size = inputShape[inputShape.length - 1];
    if (inputShape.length !== 3 || size === null) {
      throw new ValueError(`LazyAttention: input has shape [${inputShape}]; expected [batch, length, size]`);
    }
    const {
      heads,
      kvHeads = heads,
      headDim = size / heads,
      window = 512,
      elastic = true,
      ropeBase = 10000,
    } = this.#args;
    if (headDim % (ropeBase === 0 ? 1 : 2) !== 0) {
      throw new ValueError(`LazyAttention: headDim is ${headDim} for input of size ${size}; expected an even integer`);
    }
    this.#headDim = headDim;
    const matrix = (name: string, rows: number, columns: number) =>
      this.addWeight(name, [rows, columns], 'float32', initializers.glorotUniform({}));
    this.#q = matrix('q_proj', size, heads * headDim);
    this.#k = matrix('k_proj', size, kvHeads * headDim);
    this.#v = matrix('v_proj', size, kvHeads * headDim);
    this.#o = matrix('o_proj', heads * headDim, size);
    if (window > 0) this.#bias = this.addWeight('bias', [heads, window], 'float32', initializers.zeros());
    if (elastic) this.#tau = this.addWeight('tau', [heads], 'float32', initializers.constant({ value: -1 }));
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const [batch, length] = x.shape;
      const { heads, kvHeads = heads, ropeBase = 10000 } = this.#args;
      const read = (weight: LayerWeight) => weight.read() as tf.Tensor2D;
      const project4 = (weight: LayerWeight, count: number) =>
        project(x, read(weight), [batch, length, count, this.#headDim]) as tf.Tensor4D;
      const rotated = (y: tf.Tensor4D) => (ropeBase === 0 ? y : rope(y, ropeBase));
      const output = lazyAttention(
        rotated(project4(this.#q, heads)),
        rotated(project4(this.#k, kvHeads)),
        project4(this.#v, kvHeads),
        {
          ...(this.#bias === undefined ? {} : { bias: read(this.#bias) }),
          ...(this.#tau === undefined ? {} : { tau: this.#tau.read() as tf.Tensor1D }),
        },
      );
      return project(output, read(this.#o), x.shape);
    });
  }

  override computeOutputShape(inputShape: LayerShape): LayerShape {
    return inputShape;
  }

  override getConfig(): tf.serialization.ConfigDict {
    const { heads, kvHeads = heads, headDim, window = 512, elastic = true, ropeBase = 10000 } = this.#args;
    const known = { heads, kvHeads, window, elastic, ropeBase, ...(headDim === undefined ? {} : { headDim }) };
    return { ...super.getConfig(), ...known };
  }
}

tf.serialization.registerClass(LazyAttentionLayer);

/**
 * The layer for `tf.sequential` and functional models.
 * @throws ValueError for sizes that do not fit.
 */
export function lazyAttentionLayer(args: LazyAttentionLayerArgs): layers.Layer {
  return new LazyAttentionLayer(args);
}

function positive(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new ValueError(`LazyAttention: ${name} is ${value}; expected a positive integer`);
  }
}
