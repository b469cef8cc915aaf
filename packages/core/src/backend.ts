import {
  checkDType,
  checkElementwise,
  checkFloat,
  checkIds,
  checkOwned,
  checkSameDType,
  checkShapeIs,
  checkStatisticsScalar,
} from './checks.ts';
import type { BinaryFunction, ReduceFunction, UnaryFunction } from './contract/primitives.ts';
import { type DType, statisticsDType } from './dtype.ts';
import { DTypeError, ShapeError, UnsupportedError, ValueError } from './errors.ts';
import type {
  AdamWUpdate,
  AttentionInputs,
  CrossEntropyProblem,
  ElasticSoftmaxInputs,
  KernelTensor,
} from './kernels.ts';
import { runCustom } from './ops/custom.ts';
import * as primitives from './ops/primitives.ts';
import type * as api from './ops.ts';
import { checkFourAxes, checkStarts, checkTau, planAttention } from './plan/attention.ts';
import { planDecode } from './plan/decode.ts';
import { planDecoderLayer } from './plan/decoder-layer.ts';
import { planMatmul } from './plan/matmul.ts';
import { KeptAttention } from './saved.ts';
import {
  checkFinite,
  checkInteger,
  checkOptions,
  checkPositive,
  checkShape,
  describe,
  formatShape,
  type Shape,
  sameShape,
} from './shape.ts';
import { kernelTensor, optionalTensor, TensorStore } from './store.ts';
import type { Tensor } from './tensor.ts';

/**
 * What a user touches: every op, checked here once for all backends, on top of a backend's `Kernels`.
 * Made by `createBackend`, or `new Backend(kernels)` for kernels of one's own.
 */
export class Backend extends TensorStore implements api.PlainOps, api.FusedOps {
  protected override readonly self = this;
  /** A backend records nothing: that is what the recorder of @lazy-attention/nn is for. */
  readonly records = false;

  // Arithmetic

  add(a: Tensor, b: Tensor): Tensor {
    checkElementwise(this, 'add', ['a', 'b'], [a, b]);
    return this.wrap(this.kernels.add(kernelTensor(a), kernelTensor(b)), a.shape, a.dtype);
  }

  addGrad(dy: Tensor): { da: Tensor; db: Tensor } {
    checkFloat(this, 'addGrad', ['dy'], [dy]);
    return { da: this.reshape(dy, dy.shape), db: this.reshape(dy, dy.shape) };
  }

  mul(a: Tensor, b: Tensor): Tensor {
    checkElementwise(this, 'mul', ['a', 'b'], [a, b]);
    return this.wrap(this.kernels.mul(kernelTensor(a), kernelTensor(b)), a.shape, a.dtype);
  }

  mulGrad(dy: Tensor, a: Tensor, b: Tensor): { da: Tensor; db: Tensor } {
    checkElementwise(this, 'mulGrad', ['dy', 'a', 'b'], [dy, a, b]);
    return { da: this.mul(dy, b), db: this.mul(dy, a) };
  }

  scale(x: Tensor, factor: number): Tensor {
    checkFloat(this, 'scale', ['x'], [x]);
    checkFinite('scale', 'factor', factor);
    return this.wrap(this.kernels.scale(kernelTensor(x), factor), x.shape, x.dtype);
  }

  scaleGrad(dy: Tensor, factor: number): Tensor {
    return this.scale(dy, factor);
  }

  sum(x: Tensor): Tensor {
    checkFloat(this, 'sum', ['x'], [x]);
    return this.wrap(this.kernels.sum(kernelTensor(x)), [], statisticsDType(x.dtype));
  }

  sumGrad(dy: Tensor, shape: Shape, dtype: DType = dy.dtype): Tensor {
    checkFloat(this, 'sumGrad', ['dy'], [dy]);
    checkShape('sumGrad', shape);
    checkDType(this, 'sumGrad', dtype);
    checkStatisticsScalar('sumGrad', 'dy', dy, dtype);
    return this.wrap(this.kernels.sumGrad(kernelTensor(dy), shape, dtype), shape, dtype);
  }

  sumSquares(tensors: readonly Tensor[]): Tensor {
    if (tensors.length === 0) throw new ValueError('sumSquares: no tensors; expected at least one');
    const names = tensors.map((_, i) => `tensors[${i}]`);
    checkFloat(this, 'sumSquares', names, tensors);
    return this.wrap(this.kernels.sumSquares(tensors.map(kernelTensor)), [], statisticsDType(tensors[0].dtype));
  }

  matmul(a: Tensor, b: Tensor, options: api.MatmulOptions = {}): Tensor {
    checkOptions('matmul', options, ['transposeA', 'transposeB', 'accumulate']);
    const { transposeA = false, transposeB = false, accumulate } = options;
    if (accumulate === undefined) checkFloat(this, 'matmul', ['a', 'b'], [a, b]);
    else checkFloat(this, 'matmul', ['a', 'b', 'accumulate'], [a, b, accumulate]);
    const { problem, shape } = planMatmul('matmul', a.shape, b.shape, transposeA, transposeB);
    if (accumulate === undefined) {
      return this.wrap(this.kernels.matmul(kernelTensor(a), kernelTensor(b), problem, null), shape, a.dtype);
    }
    if (!sameShape(accumulate.shape, shape)) {
      throw new ShapeError(
        `matmul: accumulate has shape ${formatShape(accumulate.shape)}; the product is ${formatShape(shape)}`,
      );
    }
    if (accumulate.storage === a.storage || accumulate.storage === b.storage) {
      throw new ValueError('matmul: accumulate shares memory with an operand; copy it first');
    }
    this.kernels.matmul(kernelTensor(a), kernelTensor(b), problem, kernelTensor(accumulate));
    return accumulate;
  }

  matmulGrad(
    dy: Tensor,
    a: Tensor,
    b: Tensor,
    options: Omit<api.MatmulOptions, 'accumulate'> = {},
  ): { da: Tensor; db: Tensor } {
    checkOptions('matmulGrad', options, ['transposeA', 'transposeB']);
    const { transposeA = false, transposeB = false } = options;
    checkFloat(this, 'matmulGrad', ['dy', 'a', 'b'], [dy, a, b]);
    const { shape, folded } = planMatmul('matmulGrad', a.shape, b.shape, transposeA, transposeB);
    checkShapeIs('matmulGrad', 'dy', dy, shape);
    return this.scope(() => {
      // A shared b sees all leading entries of a as rows, in the product and in its gradient.
      const rowsOf = (x: Tensor) =>
        folded ? this.reshape(x, [x.size / x.shape[x.shape.length - 1], x.shape[x.shape.length - 1]]) : x;
      const [a2, dy2] = [rowsOf(a), rowsOf(dy)];
      const da = transposeA
        ? this.matmul(b, dy2, { transposeA: transposeB, transposeB: true })
        : this.matmul(dy2, b, { transposeB: !transposeB });
      const db = transposeB
        ? this.matmul(dy2, a2, { transposeA: true, transposeB: transposeA })
        : this.matmul(a2, dy2, { transposeA: !transposeA });
      return { da: this.reshape(da, a.shape), db };
    });
  }

  // Primitives

  unary(fn: UnaryFunction, x: Tensor): Tensor {
    return primitives.unary(this, fn, x);
  }

  binary(fn: BinaryFunction, a: Tensor, b: Tensor): Tensor {
    return primitives.binary(this, fn, a, b);
  }

  reduce(fn: ReduceFunction, x: Tensor, options?: primitives.ReduceOptions): Tensor {
    return primitives.reduce(this, fn, x, options);
  }

  permute(x: Tensor, axes: readonly number[]): Tensor {
    return primitives.permute(this, x, axes);
  }

  broadcast(x: Tensor, shape: Shape): Tensor {
    return primitives.broadcast(this, x, shape);
  }

  where(mask: Tensor, a: Tensor, b: Tensor): Tensor {
    return primitives.where(this, mask, a, b);
  }

  concat(tensors: readonly Tensor[], axis: number): Tensor {
    return primitives.concat(this, tensors, axis);
  }

  pad(x: Tensor, axis: number, before: number, after: number, value?: number): Tensor {
    return primitives.pad(this, x, axis, before, after, value);
  }

  gather(x: Tensor, indices: Tensor, axis: number): Tensor {
    return primitives.gather(this, x, indices, axis);
  }

  custom(op: api.CustomOp): Tensor {
    const { output, saved } = runCustom(this, op);
    for (const x of saved) x.dispose();
    return output;
  }

  // Layers

  rmsNorm(x: Tensor, weight: Tensor, options: api.RmsNormOptions = {}): Tensor {
    checkOptions('rmsNorm', options, ['epsilon']);
    checkFloat(this, 'rmsNorm', ['x', 'weight'], [x, weight]);
    const epsilon = this.#checkRmsNorm('rmsNorm', x, weight, options);
    return this.wrap(this.kernels.rmsNorm(rows(x), kernelTensor(weight), epsilon), x.shape, x.dtype);
  }

  rmsNormGrad(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    options: api.RmsNormOptions = {},
  ): { dx: Tensor; dweight: Tensor } {
    checkOptions('rmsNormGrad', options, ['epsilon']);
    checkFloat(this, 'rmsNormGrad', ['dy', 'x', 'weight'], [dy, x, weight]);
    const epsilon = this.#checkRmsNorm('rmsNormGrad', x, weight, options);
    checkShapeIs('rmsNormGrad', 'dy', dy, x.shape);
    const { dx, dweight } = this.kernels.rmsNormGrad(rows(dy), rows(x), kernelTensor(weight), epsilon);
    return { dx: this.wrap(dx, x.shape, x.dtype), dweight: this.wrap(dweight, weight.shape, weight.dtype) };
  }

  #checkRmsNorm(op: string, x: Tensor, weight: Tensor, options: api.RmsNormOptions): number {
    if (x.shape.length === 0) throw new ShapeError(`${op}: x has shape []; expected [..., C]`);
    checkShapeIs(op, 'weight', weight, [x.shape[x.shape.length - 1]]);
    const epsilon = options.epsilon ?? 1e-6;
    checkPositive(op, 'epsilon', epsilon);
    return epsilon;
  }

  rope(x: Tensor, options: api.RopeOptions = {}): Tensor {
    return this.#rotate('rope', x, options, false);
  }

  /** Rotations are orthogonal: the gradient is the rotation by the negative angle. */
  ropeGrad(dy: Tensor, options: api.RopeOptions = {}): Tensor {
    return this.#rotate('ropeGrad', dy, options, true);
  }

  #rotate(op: string, x: Tensor, options: api.RopeOptions, inverse: boolean): Tensor {
    checkOptions(op, options, ['base', 'offset']);
    checkFloat(this, op, ['x'], [x]);
    checkFourAxes(op, 'x', x.shape, '[B, L, H, D]');
    const headDim = x.shape[3];
    if (headDim % 2 !== 0) {
      throw new ShapeError(`${op}: x has shape ${formatShape(x.shape)}; head size (${headDim}) must be even`);
    }
    const { base = 10000, offset = 0 } = options;
    checkPositive(op, 'base', base);
    checkInteger(op, 'offset', offset, 0, 2 ** 31 - 1);
    return this.wrap(this.kernels.rope(kernelTensor(x), { base, offset, inverse }), x.shape, x.dtype);
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    checkElementwise(this, 'swiglu', ['gate', 'up'], [gate, up]);
    return this.wrap(this.kernels.swiglu(kernelTensor(gate), kernelTensor(up)), gate.shape, gate.dtype);
  }

  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor } {
    checkElementwise(this, 'swigluGrad', ['dy', 'gate', 'up'], [dy, gate, up]);
    const { dgate, dup } = this.kernels.swigluGrad(kernelTensor(dy), kernelTensor(gate), kernelTensor(up));
    return { dgate: this.wrap(dgate, gate.shape, gate.dtype), dup: this.wrap(dup, up.shape, up.dtype) };
  }

  embedding(weight: Tensor, ids: Tensor): Tensor {
    checkFloat(this, 'embedding', ['weight'], [weight]);
    if (weight.shape.length !== 2) {
      throw new ShapeError(`embedding: weight has shape ${formatShape(weight.shape)}; expected [V, C]`);
    }
    checkIds(this, 'embedding', 'ids', ids, weight.shape[0]);
    const shape = [...ids.shape, weight.shape[1]];
    return this.wrap(this.kernels.embedding(kernelTensor(weight), kernelTensor(ids)), shape, weight.dtype);
  }

  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor {
    checkFloat(this, 'embeddingGrad', ['dy'], [dy]);
    checkInteger('embeddingGrad', 'vocabulary', vocabulary, 1, 2 ** 31 - 1);
    checkIds(this, 'embeddingGrad', 'ids', ids, vocabulary);
    checkShapeIs('embeddingGrad', 'dy', dy, [...ids.shape, dy.shape[dy.shape.length - 1]]);
    const shape = [vocabulary, dy.shape[dy.shape.length - 1]];
    return this.wrap(this.kernels.embeddingGrad(kernelTensor(dy), kernelTensor(ids), vocabulary), shape, dy.dtype);
  }

  crossEntropy(logits: Tensor, targets: Tensor, options: api.CrossEntropyOptions = {}): api.CrossEntropyResult {
    const problem = this.#checkCrossEntropy('crossEntropy', logits, targets, options);
    const { loss, lse } = this.kernels.crossEntropy(rows(logits), flat(targets), problem);
    const dtype = statisticsDType(logits.dtype);
    return { loss: this.wrap(loss, [], dtype), lse: this.wrap(lse, targets.shape, dtype) };
  }

  crossEntropyGrad(
    dLoss: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    options: api.CrossEntropyOptions = {},
  ): Tensor {
    const op = 'crossEntropyGrad';
    const problem = this.#checkCrossEntropy(op, logits, targets, options);
    checkOwned(this, op, 'dLoss', dLoss);
    checkOwned(this, op, 'lse', lse);
    checkStatisticsScalar(op, 'dLoss', dLoss, logits.dtype);
    checkShapeIs(op, 'lse', lse, targets.shape);
    checkSameDType(op, 'lse', lse, 'dLoss', dLoss);
    const dlogits = this.kernels.crossEntropyGrad(kernelTensor(dLoss), rows(logits), flat(targets), flat(lse), problem);
    return this.wrap(dlogits, logits.shape, logits.dtype);
  }

  #checkCrossEntropy(
    op: string,
    logits: Tensor,
    targets: Tensor,
    options: api.CrossEntropyOptions,
  ): CrossEntropyProblem {
    checkOptions(op, options, ['ignoreIndex']);
    checkFloat(this, op, ['logits'], [logits]);
    if (logits.shape.length === 0) throw new ShapeError(`${op}: logits has shape []; expected [..., V]`);
    const { ignoreIndex = -100 } = options;
    checkInteger(op, 'ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
    checkIds(this, op, 'targets', targets, logits.shape[logits.shape.length - 1], ignoreIndex);
    checkShapeIs(op, 'targets', targets, logits.shape.slice(0, -1));
    let count = 0;
    for (const target of targets.storage.indices as Int32Array) if (target !== ignoreIndex) count++;
    if (count === 0)
      throw new ValueError(`${op}: every target is ignoreIndex (${ignoreIndex}); the mean of none is undefined`);
    return { ignoreIndex, count };
  }

  adamw(updates: readonly api.AdamWTensors[], options: api.AdamWOptions): void {
    const op = 'adamw';
    checkOptions(op, options, ['learningRate', 'step', 'beta1', 'beta2', 'epsilon', 'clip']);
    const { learningRate, step, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, clip } = options;
    checkFinite(op, 'learningRate', learningRate);
    checkInteger(op, 'step', step, 1, Number.MAX_SAFE_INTEGER);
    checkPositive(op, 'epsilon', epsilon);
    for (const [name, beta] of Object.entries({ beta1, beta2 })) {
      if (!(beta >= 0 && beta < 1)) throw new ValueError(`${op}: ${name} is ${beta}; expected 0 <= ${name} < 1`);
    }
    const checked = updates.map((update, i) => this.#checkUpdate(op, update, i));
    if (clip !== undefined) {
      checkPositive(op, 'clip.maxNorm', clip.maxNorm);
      checkOwned(this, op, 'clip.normSquared', clip.normSquared);
      checkStatisticsScalar(op, 'clip.normSquared', clip.normSquared, updates[0]?.param.dtype ?? 'f32');
    }
    if (checked.length === 0) return;
    this.kernels.adamw(checked, {
      learningRate,
      beta1,
      beta2,
      epsilon,
      correction1: 1 - beta1 ** step,
      correction2: 1 - beta2 ** step,
      clip: clip === undefined ? null : { normSquared: kernelTensor(clip.normSquared), maxNorm: clip.maxNorm },
    });
  }

  #checkUpdate(op: string, update: api.AdamWTensors, index: number): AdamWUpdate {
    const { param, grad, m, v, weightDecay = 0 } = update;
    const name = (part: string) => `updates[${index}].${part}`;
    checkElementwise(this, op, [name('param'), name('grad'), name('m'), name('v')], [param, grad, m, v]);
    if (param.dtype !== statisticsDType(param.dtype)) {
      throw new DTypeError(`${op}: ${name('param')} is ${param.dtype}; expected f32 master weights; cast in the model`);
    }
    checkFinite(op, name('weightDecay'), weightDecay);
    return {
      param: kernelTensor(param),
      grad: kernelTensor(grad),
      m: kernelTensor(m),
      v: kernelTensor(v),
      weightDecay,
    };
  }

  // Attention

  attention(q: Tensor, k: Tensor, v: Tensor, options: api.AttentionOptions = {}): api.AttentionResult {
    checkOptions('attention', options, ['bias', 'tau', 'starts', 'scale', 'keyLength', 'save']);
    const inputs = this.#attentionInputs('attention', q, k, v, options);
    const { save = true } = options;
    const result = this.kernels.attention(inputs, save);
    const output = this.wrap(result.output, q.shape, q.dtype);
    const held = save ? [q, k, v, output, options.bias, options.tau, options.starts] : [];
    const saved = new KeptAttention(this.arena, this.kernels, inputs, output, result.saved, held);
    return { output, saved };
  }

  attentionGrad(dOutput: Tensor, saved: api.SavedAttention): api.AttentionGradResult {
    const op = 'attentionGrad';
    if (!(saved instanceof KeptAttention)) {
      throw new ValueError(`${op}: saved is ${describe(saved)}; expected what attention returned`);
    }
    checkFloat(this, op, ['dOutput'], [dOutput]);
    const { inputs, output, kept } = saved.open(op, this.kernels);
    const like = inputs.q;
    checkShapeIs(op, 'dOutput', dOutput, like.shape);
    if (dOutput.dtype !== like.dtype) {
      throw new DTypeError(`${op}: dOutput is ${dOutput.dtype}; expected ${like.dtype}, the type of q`);
    }
    const grads = this.kernels.attentionGrad(kernelTensor(dOutput), inputs, output, kept);
    const wrapLike = (buffer: object, x: KernelTensor) => this.wrap(buffer, x.shape, x.dtype);
    return {
      dq: wrapLike(grads.dq, inputs.q),
      dk: wrapLike(grads.dk, inputs.k),
      dv: wrapLike(grads.dv, inputs.v),
      dbias: grads.dbias === null || inputs.bias === null ? undefined : wrapLike(grads.dbias, inputs.bias),
      dtau: grads.dtau === null || inputs.tau === null ? undefined : wrapLike(grads.dtau, inputs.tau),
    };
  }

  attentionWeights(q: Tensor, k: Tensor, options: Omit<api.AttentionOptions, 'save'> = {}): Tensor {
    checkOptions('attentionWeights', options, ['bias', 'tau', 'starts', 'scale', 'keyLength']);
    const inputs = this.#attentionInputs('attentionWeights', q, k, null, options);
    const { batch, heads, queryLength, keyLength } = inputs.sizes;
    const shape = [batch, heads, queryLength, keyLength];
    checkShape('attentionWeights', shape);
    return this.wrap(this.kernels.attentionWeights(inputs), shape, statisticsDType(q.dtype));
  }

  #attentionInputs(op: string, q: Tensor, k: Tensor, v: Tensor | null, options: api.AttentionOptions): AttentionInputs {
    const { bias, tau, starts } = options;
    if (v === null) checkFloat(this, op, ['q', 'k'], [q, k]);
    else checkFloat(this, op, ['q', 'k', 'v'], [q, k, v]);
    if (bias !== undefined) checkOwned(this, op, 'bias', bias);
    if (tau !== undefined) checkOwned(this, op, 'tau', tau);
    if (starts !== undefined) checkOwned(this, op, 'starts', starts);
    const { sizes, scale } = planAttention(op, q, k, v, options);
    return {
      sizes,
      scale,
      q: kernelTensor(q),
      k: kernelTensor(k),
      v: kernelTensor(v ?? k),
      bias: optionalTensor(bias),
      tau: optionalTensor(tau),
      starts: optionalTensor(starts),
    };
  }

  get fusesDecoderLayer(): boolean {
    return this.kernels.decoderLayer !== undefined;
  }

  decoderLayer(x: Tensor, weights: api.DecoderLayerWeights, options: api.DecoderLayerOptions): void {
    if (this.kernels.decoderLayer === undefined) {
      throw new UnsupportedError(
        `decoderLayer: backend '${this.name}' has no fused decoder layer; ask fusesDecoderLayer, and compose it of other ops`,
      );
    }
    this.kernels.decoderLayer(planDecoderLayer(this, x, weights, options));
  }

  get fusesDecoding(): boolean {
    return this.kernels.decode !== undefined;
  }

  async decode(tokens: Tensor, decoder: api.DecoderWeights, options: api.DecodeOptions): Promise<Int32Array> {
    if (this.kernels.decode === undefined) {
      throw new UnsupportedError(
        `decode: backend '${this.name}' has no fused decoding; ask fusesDecoding, and compose it of other ops`,
      );
    }
    const problem = planDecode(this, tokens, decoder, options);
    const { steps, sizes } = problem;
    const drawn = this.wrap(this.kernels.decode(problem), [steps, sizes.batch], 'i32');
    const ids = (await drawn.data().finally(() => drawn.dispose())) as Int32Array;
    const wrong = ids.find((id) => id < 0);
    if (wrong === undefined) return ids;
    throw new ValueError(`decode: the logit of token ${-1 - wrong} is NaN; the parameters have diverged`);
  }

  elasticSoftmax(scores: Tensor, options: api.ElasticSoftmaxOptions = {}): Tensor {
    checkOptions('elasticSoftmax', options, ['tau', 'starts']);
    checkFloat(this, 'elasticSoftmax', ['scores'], [scores]);
    const inputs = this.#elasticInputs('elasticSoftmax', scores, options);
    return this.wrap(this.kernels.elasticSoftmax(inputs), scores.shape, scores.dtype);
  }

  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    options: api.ElasticSoftmaxOptions = {},
  ): { dscores: Tensor; dtau: Tensor | undefined } {
    checkOptions('elasticSoftmaxGrad', options, ['tau', 'starts']);
    checkFloat(this, 'elasticSoftmaxGrad', ['dWeights', 'scores'], [dWeights, scores]);
    const inputs = this.#elasticInputs('elasticSoftmaxGrad', scores, options);
    checkShapeIs('elasticSoftmaxGrad', 'dWeights', dWeights, scores.shape);
    const { dscores, dtau } = this.kernels.elasticSoftmaxGrad(kernelTensor(dWeights), inputs);
    return {
      dscores: this.wrap(dscores, scores.shape, scores.dtype),
      dtau: dtau === null ? undefined : this.wrap(dtau, [scores.shape[1]], statisticsDType(scores.dtype)),
    };
  }

  #elasticInputs(op: string, scores: Tensor, options: api.ElasticSoftmaxOptions): ElasticSoftmaxInputs {
    const { tau, starts } = options;
    if (tau !== undefined) checkOwned(this, op, 'tau', tau);
    if (starts !== undefined) checkOwned(this, op, 'starts', starts);
    checkFourAxes(op, 'scores', scores.shape, '[B, H, L, S]');
    const [batch, heads, queryLength, keyLength] = scores.shape;
    if (queryLength > keyLength) {
      throw new ShapeError(
        `${op}: scores has shape ${formatShape(scores.shape)}; queries (${queryLength}) are the last of the keys, so at most ${keyLength}`,
      );
    }
    if (tau !== undefined) checkTau(op, tau, heads, scores);
    if (starts !== undefined) checkStarts(op, starts, batch, queryLength, keyLength);
    return {
      scores: kernelTensor(scores),
      tau: optionalTensor(tau),
      starts: optionalTensor(starts),
    };
  }
}

/** x [..., C] as [rows, C]. */
function rows(x: Tensor): KernelTensor {
  const width = x.shape[x.shape.length - 1];
  return { buffer: x.storage.buffer, shape: [x.size / width, width], dtype: x.dtype };
}

function flat(x: Tensor): KernelTensor {
  return { buffer: x.storage.buffer, shape: [x.size], dtype: x.dtype };
}
