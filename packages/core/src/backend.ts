import { Arena } from './arena.ts';
import { bytesPerElement, DTYPES, type DType, statisticsDType, type TensorData } from './dtype.ts';
import { BackendMismatchError, DisposedError, DTypeError, ShapeError, UnsupportedError, ValueError } from './errors.ts';
import type { AttentionInputs, ElasticSoftmaxInputs, Kernels, KernelTensor } from './kernels.ts';
import type * as api from './ops.ts';
import { checkStarts, checkTau, fourAxes, planAttention } from './plan/attention.ts';
import { planMatmul } from './plan/matmul.ts';
import { copyIndices, planSlice, replaceAxis, resolveAxis, sliceIndices } from './plan/slice.ts';
import { KeptAttention } from './saved.ts';
import {
  checkFinite,
  checkInteger,
  checkOptions,
  checkPositive,
  checkShape,
  describe,
  elementCount,
  formatShape,
  type Shape,
  sameShape,
} from './shape.ts';
import { type Storage, Tensor } from './tensor.ts';

/** Live tensors (views count) and device bytes that they and saved attentions hold. */
export interface MemoryInfo {
  readonly tensors: number;
  readonly bytes: number;
  readonly peakBytes: number;
}

/**
 * What a user touches: every op, checked here once for all backends, on top of a backend's `Kernels`.
 * Made by `createBackend`, or `new Backend(kernels)` for kernels of one's own.
 */
export class Backend implements api.Ops, api.GradOps, api.StorageOps {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  #disposed = false;

  constructor(kernels: Kernels) {
    this.#kernels = kernels;
    this.#arena = new Arena(kernels);
  }

  get name(): string {
    return this.#kernels.name;
  }

  /** What it runs on, for people. */
  get device(): string {
    return this.#kernels.device;
  }

  /** Element types that tensors of this backend may have; f32 and i32 are always there. */
  get dtypes(): ReadonlySet<DType> {
    return this.#kernels.dtypes;
  }

  memory(): MemoryInfo {
    return this.#arena.memory();
  }

  /** Waits for all work launched so far. Rejects with the first error of that work. */
  async synchronize(): Promise<void> {
    this.#checkAlive('synchronize');
    await this.#kernels.synchronize();
  }

  /** Releases the device and all that is still alive on it. Doing so twice is allowed. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#arena.close();
    await this.#kernels.dispose();
  }

  /**
   * Runs `fn` and disposes every tensor and saved attention made inside but for those that it returns, alone or inside
   * arrays, plain objects, Maps and Sets. Scopes nest. `fn` must be synchronous: launching is; only `data()` waits.
   */
  scope<T>(fn: () => T): T {
    this.#checkAlive('scope');
    return this.#arena.scope(fn);
  }

  // Storage

  tensor(data: TensorData | readonly number[], shape: Shape, dtype: DType = defaultDType(data)): Tensor {
    this.#checkAlive('tensor');
    this.#checkDType('tensor', dtype);
    checkShape('tensor', shape);
    if (data.length !== elementCount(shape)) {
      throw new ShapeError(
        `tensor: data has ${data.length} elements; shape ${formatShape(shape)} needs ${elementCount(shape)}`,
      );
    }
    const host = toHost(data, dtype);
    const indices = host instanceof Int32Array ? host.slice() : null;
    return this.#wrap(this.#kernels.upload(host, shape, dtype), shape, dtype, indices);
  }

  zeros(shape: Shape, dtype: DType = 'f32'): Tensor {
    return this.full(shape, 0, dtype);
  }

  full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
    this.#checkAlive('full');
    this.#checkDType('full', dtype);
    checkShape('full', shape);
    if (typeof value !== 'number') throw new ValueError(`full: value is ${describe(value)}; expected a number`);
    if (dtype === 'i32') checkInteger('full', 'value', value, -(2 ** 31), 2 ** 31 - 1);
    const indices = dtype === 'i32' ? new Int32Array(elementCount(shape)).fill(value) : null;
    return this.#wrap(this.#kernels.full(shape, value, dtype), shape, dtype, indices);
  }

  reshape(x: Tensor, shape: Shape): Tensor {
    this.#check('reshape', { x });
    checkShape('reshape', shape);
    if (elementCount(shape) !== x.size) {
      throw new ShapeError(
        `reshape: x has shape ${formatShape(x.shape)} (${x.size} elements); ${formatShape(shape)} has ${elementCount(shape)}`,
      );
    }
    return this.#view(x.storage, shape, x.dtype);
  }

  cast(x: Tensor, dtype: DType): Tensor {
    this.#check('cast', { x });
    this.#checkDType('cast', dtype);
    if (x.dtype === 'i32' || dtype === 'i32') {
      throw new DTypeError(`cast: from ${x.dtype} to ${dtype}; expected floating types`);
    }
    if (x.dtype === dtype) return this.#view(x.storage, x.shape, dtype);
    return this.#wrap(this.#kernels.cast(kernelTensor(x), dtype), x.shape, dtype);
  }

  castGrad(dy: Tensor, dtype: DType): Tensor {
    return this.cast(dy, dtype);
  }

  slice(x: Tensor, axis: number, start: number, end: number): Tensor {
    this.#check('slice', { x });
    const resolved = resolveAxis('slice', x.shape, axis);
    const view = planSlice('slice', x.shape, resolved, start, end - start);
    const shape = replaceAxis(x.shape, resolved, view.count);
    const indices = x.storage.indices === null ? null : sliceIndices(x.storage.indices, view);
    return this.#wrap(this.#kernels.slice(kernelTensor(x), view), shape, x.dtype, indices);
  }

  sliceGrad(dy: Tensor, shape: Shape, axis: number, start: number): Tensor {
    this.#checkFloat('sliceGrad', { dy });
    const dx = this.zeros(shape, dy.dtype);
    try {
      this.#copyInto('sliceGrad', dx, dy, axis, start);
    } catch (error) {
      dx.dispose();
      throw error;
    }
    return dx;
  }

  copyInto(target: Tensor, source: Tensor, axis: number, offset: number): void {
    this.#check('copyInto', { target, source });
    this.#copyInto('copyInto', target, source, axis, offset);
  }

  #copyInto(op: string, target: Tensor, source: Tensor, axis: number, offset: number): void {
    checkSameDType(op, { target, source });
    if (target.storage === source.storage)
      throw new ValueError(`${op}: source and target share memory; copy source first`);
    const resolved = resolveAxis(op, target.shape, axis);
    const count = source.shape[resolved];
    if (!sameShape(replaceAxis(target.shape, resolved, count), source.shape)) {
      throw new ShapeError(
        `${op}: source has shape ${formatShape(source.shape)}; expected that of target, ${formatShape(target.shape)}, on all axes but ${resolved}`,
      );
    }
    const view = planSlice(op, target.shape, resolved, offset, count);
    this.#kernels.copyInto(kernelTensor(target), kernelTensor(source), view);
    if (target.storage.indices !== null && source.storage.indices !== null) {
      copyIndices(target.storage.indices, source.storage.indices, view);
    }
  }

  // Arithmetic

  add(a: Tensor, b: Tensor): Tensor {
    this.#checkElementwise('add', { a, b });
    return this.#wrap(this.#kernels.add(kernelTensor(a), kernelTensor(b)), a.shape, a.dtype);
  }

  addGrad(dy: Tensor): { da: Tensor; db: Tensor } {
    this.#checkFloat('addGrad', { dy });
    return { da: this.reshape(dy, dy.shape), db: this.reshape(dy, dy.shape) };
  }

  mul(a: Tensor, b: Tensor): Tensor {
    this.#checkElementwise('mul', { a, b });
    return this.#wrap(this.#kernels.mul(kernelTensor(a), kernelTensor(b)), a.shape, a.dtype);
  }

  mulGrad(dy: Tensor, a: Tensor, b: Tensor): { da: Tensor; db: Tensor } {
    this.#checkElementwise('mulGrad', { dy, a, b });
    return { da: this.mul(dy, b), db: this.mul(dy, a) };
  }

  scale(x: Tensor, factor: number): Tensor {
    this.#checkFloat('scale', { x });
    checkFinite('scale', 'factor', factor);
    return this.#wrap(this.#kernels.scale(kernelTensor(x), factor), x.shape, x.dtype);
  }

  scaleGrad(dy: Tensor, factor: number): Tensor {
    return this.scale(dy, factor);
  }

  sum(x: Tensor): Tensor {
    this.#checkFloat('sum', { x });
    return this.#wrap(this.#kernels.sum(kernelTensor(x)), [], statisticsDType(x.dtype));
  }

  sumGrad(dy: Tensor, shape: Shape, dtype: DType = dy.dtype): Tensor {
    this.#checkFloat('sumGrad', { dy });
    checkShape('sumGrad', shape);
    this.#checkDType('sumGrad', dtype);
    checkStatisticsScalar('sumGrad', 'dy', dy, dtype);
    return this.#wrap(this.#kernels.sumGrad(kernelTensor(dy), shape, dtype), shape, dtype);
  }

  sumSquares(tensors: readonly Tensor[]): Tensor {
    if (tensors.length === 0) throw new ValueError('sumSquares: no tensors; expected at least one');
    const named = Object.fromEntries(tensors.map((tensor, i) => [`tensors[${i}]`, tensor]));
    this.#checkFloat('sumSquares', named);
    return this.#wrap(this.#kernels.sumSquares(tensors.map(kernelTensor)), [], statisticsDType(tensors[0].dtype));
  }

  matmul(a: Tensor, b: Tensor, options: api.MatmulOptions = {}): Tensor {
    checkOptions('matmul', options, ['transposeA', 'transposeB', 'accumulate']);
    const { transposeA = false, transposeB = false, accumulate } = options;
    this.#checkFloat('matmul', accumulate === undefined ? { a, b } : { a, b, accumulate });
    const { problem, shape } = planMatmul('matmul', a.shape, b.shape, transposeA, transposeB);
    if (accumulate === undefined) {
      return this.#wrap(this.#kernels.matmul(kernelTensor(a), kernelTensor(b), problem, null), shape, a.dtype);
    }
    if (!sameShape(accumulate.shape, shape)) {
      throw new ShapeError(
        `matmul: accumulate has shape ${formatShape(accumulate.shape)}; the product is ${formatShape(shape)}`,
      );
    }
    if (accumulate.storage === a.storage || accumulate.storage === b.storage) {
      throw new ValueError('matmul: accumulate shares memory with an operand; copy it first');
    }
    this.#kernels.matmul(kernelTensor(a), kernelTensor(b), problem, kernelTensor(accumulate));
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
    this.#checkFloat('matmulGrad', { dy, a, b });
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

  // Layers

  rmsNorm(x: Tensor, weight: Tensor, options: api.RmsNormOptions = {}): Tensor {
    const epsilon = this.#checkRmsNorm('rmsNorm', { x, weight }, x, weight, options);
    return this.#wrap(this.#kernels.rmsNorm(rows(x), kernelTensor(weight), epsilon), x.shape, x.dtype);
  }

  rmsNormGrad(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    options: api.RmsNormOptions = {},
  ): { dx: Tensor; dweight: Tensor } {
    const epsilon = this.#checkRmsNorm('rmsNormGrad', { dy, x, weight }, x, weight, options);
    checkShapeIs('rmsNormGrad', 'dy', dy, x.shape);
    const { dx, dweight } = this.#kernels.rmsNormGrad(rows(dy), rows(x), kernelTensor(weight), epsilon);
    return { dx: this.#wrap(dx, x.shape, x.dtype), dweight: this.#wrap(dweight, weight.shape, weight.dtype) };
  }

  #checkRmsNorm(
    op: string,
    tensors: Record<string, Tensor>,
    x: Tensor,
    weight: Tensor,
    options: api.RmsNormOptions,
  ): number {
    checkOptions(op, options, ['epsilon']);
    this.#checkFloat(op, tensors);
    if (x.shape.length === 0) throw new ShapeError(`${op}: x has shape []; expected [..., C]`);
    checkShapeIs(op, 'weight', weight, x.shape.slice(-1));
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
    this.#checkFloat(op, { x });
    const [, , , headDim] = fourAxes(op, 'x', x.shape, '[B, L, H, D]');
    if (headDim % 2 !== 0) {
      throw new ShapeError(`${op}: x has shape ${formatShape(x.shape)}; head size (${headDim}) must be even`);
    }
    const { base = 10000, offset = 0 } = options;
    checkPositive(op, 'base', base);
    checkInteger(op, 'offset', offset, 0, 2 ** 31 - 1);
    return this.#wrap(this.#kernels.rope(kernelTensor(x), { base, offset, inverse }), x.shape, x.dtype);
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    this.#checkElementwise('swiglu', { gate, up });
    return this.#wrap(this.#kernels.swiglu(kernelTensor(gate), kernelTensor(up)), gate.shape, gate.dtype);
  }

  swigluGrad(dy: Tensor, gate: Tensor, up: Tensor): { dgate: Tensor; dup: Tensor } {
    this.#checkElementwise('swigluGrad', { dy, gate, up });
    const { dgate, dup } = this.#kernels.swigluGrad(kernelTensor(dy), kernelTensor(gate), kernelTensor(up));
    return { dgate: this.#wrap(dgate, gate.shape, gate.dtype), dup: this.#wrap(dup, up.shape, up.dtype) };
  }

  embedding(weight: Tensor, ids: Tensor): Tensor {
    this.#checkFloat('embedding', { weight });
    if (weight.shape.length !== 2) {
      throw new ShapeError(`embedding: weight has shape ${formatShape(weight.shape)}; expected [V, C]`);
    }
    this.#checkIds('embedding', 'ids', ids, weight.shape[0]);
    const shape = [...ids.shape, weight.shape[1]];
    return this.#wrap(this.#kernels.embedding(kernelTensor(weight), kernelTensor(ids)), shape, weight.dtype);
  }

  embeddingGrad(dy: Tensor, ids: Tensor, vocabulary: number): Tensor {
    this.#checkFloat('embeddingGrad', { dy });
    checkInteger('embeddingGrad', 'vocabulary', vocabulary, 1, 2 ** 31 - 1);
    this.#checkIds('embeddingGrad', 'ids', ids, vocabulary);
    checkShapeIs('embeddingGrad', 'dy', dy, [...ids.shape, dy.shape[dy.shape.length - 1]]);
    const shape = [vocabulary, dy.shape[dy.shape.length - 1]];
    return this.#wrap(this.#kernels.embeddingGrad(kernelTensor(dy), kernelTensor(ids), vocabulary), shape, dy.dtype);
  }

  crossEntropy(logits: Tensor, targets: Tensor, options: api.CrossEntropyOptions = {}): api.CrossEntropyResult {
    const problem = this.#checkCrossEntropy('crossEntropy', { logits }, logits, targets, options);
    const { loss, lse } = this.#kernels.crossEntropy(rows(logits), flat(targets), problem);
    const dtype = statisticsDType(logits.dtype);
    return { loss: this.#wrap(loss, [], dtype), lse: this.#wrap(lse, targets.shape, dtype) };
  }

  crossEntropyGrad(
    dLoss: Tensor,
    logits: Tensor,
    targets: Tensor,
    lse: Tensor,
    options: api.CrossEntropyOptions = {},
  ): Tensor {
    const op = 'crossEntropyGrad';
    const problem = this.#checkCrossEntropy(op, { logits }, logits, targets, options);
    this.#check(op, { dLoss, lse });
    checkStatisticsScalar(op, 'dLoss', dLoss, logits.dtype);
    checkShapeIs(op, 'lse', lse, targets.shape);
    checkSameDType(op, { dLoss, lse });
    const dlogits = this.#kernels.crossEntropyGrad(
      kernelTensor(dLoss),
      rows(logits),
      flat(targets),
      flat(lse),
      problem,
    );
    return this.#wrap(dlogits, logits.shape, logits.dtype);
  }

  #checkCrossEntropy(
    op: string,
    tensors: Record<string, Tensor>,
    logits: Tensor,
    targets: Tensor,
    options: api.CrossEntropyOptions,
  ): { ignoreIndex: number; count: number } {
    checkOptions(op, options, ['ignoreIndex']);
    this.#checkFloat(op, tensors);
    if (logits.shape.length === 0) throw new ShapeError(`${op}: logits has shape []; expected [..., V]`);
    const { ignoreIndex = -100 } = options;
    checkInteger(op, 'ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1);
    this.#checkIds(op, 'targets', targets, logits.shape[logits.shape.length - 1], ignoreIndex);
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
      this.#check(op, { 'clip.normSquared': clip.normSquared });
      checkStatisticsScalar(op, 'clip.normSquared', clip.normSquared, updates[0]?.param.dtype ?? 'f32');
    }
    if (checked.length === 0) return;
    this.#kernels.adamw(checked, {
      learningRate,
      beta1,
      beta2,
      epsilon,
      correction1: 1 - beta1 ** step,
      correction2: 1 - beta2 ** step,
      clip: clip === undefined ? null : { normSquared: kernelTensor(clip.normSquared), maxNorm: clip.maxNorm },
    });
  }

  #checkUpdate(op: string, update: api.AdamWTensors, index: number) {
    const { param, grad, m, v, weightDecay = 0 } = update;
    const name = (part: string) => `updates[${index}].${part}`;
    const named = { [name('param')]: param, [name('grad')]: grad, [name('m')]: m, [name('v')]: v };
    this.#checkElementwise(op, named);
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
    const result = this.#kernels.attention(inputs, save);
    const output = this.#wrap(result.output, q.shape, q.dtype);
    const held = save ? [q, k, v, output, options.bias, options.tau, options.starts] : [];
    const saved = new KeptAttention(this.#arena, this.#kernels, inputs, output, result.saved, held);
    return { output, saved };
  }

  attentionGrad(dOutput: Tensor, saved: api.SavedAttention): api.AttentionGradResult {
    const op = 'attentionGrad';
    if (!(saved instanceof KeptAttention)) {
      throw new ValueError(`${op}: saved is ${describe(saved)}; expected what attention returned`);
    }
    this.#checkFloat(op, { dOutput });
    const { inputs, output, kept } = saved.open(op, this.#kernels);
    const like = inputs.q;
    checkShapeIs(op, 'dOutput', dOutput, like.shape);
    if (dOutput.dtype !== like.dtype) {
      throw new DTypeError(`${op}: dOutput is ${dOutput.dtype}; expected ${like.dtype}, the type of q`);
    }
    const grads = this.#kernels.attentionGrad(kernelTensor(dOutput), inputs, output, kept);
    const wrapLike = (buffer: object, x: KernelTensor) => this.#wrap(buffer, x.shape, x.dtype);
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
    return this.#wrap(this.#kernels.attentionWeights(inputs), shape, statisticsDType(q.dtype));
  }

  #attentionInputs(op: string, q: Tensor, k: Tensor, v: Tensor | null, options: api.AttentionOptions): AttentionInputs {
    const { bias, tau, starts } = options;
    this.#checkFloat(op, v === null ? { q, k } : { q, k, v });
    this.#check(op, definedOnly({ bias, tau, starts }));
    const { sizes, scale } = planAttention(op, q, k, v, options);
    return {
      sizes,
      scale,
      q: kernelTensor(q),
      k: kernelTensor(k),
      v: kernelTensor(v ?? k),
      bias: bias === undefined ? null : kernelTensor(bias),
      tau: tau === undefined ? null : kernelTensor(tau),
      starts: starts === undefined ? null : kernelTensor(starts),
    };
  }

  elasticSoftmax(scores: Tensor, options: api.ElasticSoftmaxOptions = {}): Tensor {
    const inputs = this.#elasticInputs('elasticSoftmax', { scores }, scores, options);
    return this.#wrap(this.#kernels.elasticSoftmax(inputs), scores.shape, scores.dtype);
  }

  elasticSoftmaxGrad(
    dWeights: Tensor,
    scores: Tensor,
    options: api.ElasticSoftmaxOptions = {},
  ): { dscores: Tensor; dtau: Tensor | undefined } {
    const inputs = this.#elasticInputs('elasticSoftmaxGrad', { dWeights, scores }, scores, options);
    checkShapeIs('elasticSoftmaxGrad', 'dWeights', dWeights, scores.shape);
    const { dscores, dtau } = this.#kernels.elasticSoftmaxGrad(kernelTensor(dWeights), inputs);
    return {
      dscores: this.#wrap(dscores, scores.shape, scores.dtype),
      dtau: dtau === null ? undefined : this.#wrap(dtau, [scores.shape[1]], statisticsDType(scores.dtype)),
    };
  }

  #elasticInputs(
    op: string,
    tensors: Record<string, Tensor>,
    scores: Tensor,
    options: api.ElasticSoftmaxOptions,
  ): ElasticSoftmaxInputs {
    checkOptions(op, options, ['tau', 'starts']);
    const { tau, starts } = options;
    this.#checkFloat(op, tensors);
    this.#check(op, definedOnly({ tau, starts }));
    const [batch, heads, queryLength, keyLength] = fourAxes(op, 'scores', scores.shape, '[B, H, L, S]');
    if (queryLength > keyLength) {
      throw new ShapeError(
        `${op}: scores has shape ${formatShape(scores.shape)}; queries (${queryLength}) are the last of the keys, so at most ${keyLength}`,
      );
    }
    if (tau !== undefined) checkTau(op, tau, heads, scores);
    if (starts !== undefined) checkStarts(op, starts, batch, queryLength, keyLength);
    return {
      scores: kernelTensor(scores),
      tau: tau === undefined ? null : kernelTensor(tau),
      starts: starts === undefined ? null : kernelTensor(starts),
    };
  }

  // Ownership

  /** @internal Called by `Tensor.data`. */
  async read(x: Tensor): Promise<TensorData> {
    this.#check('data', { tensor: x });
    return this.#kernels.read(kernelTensor(x));
  }

  /** @internal Called once by `Tensor.dispose`. */
  release(x: Tensor): void {
    this.#arena.forget(x);
    this.#arena.release(x.storage);
  }

  #wrap(buffer: object, shape: Shape, dtype: DType, indices: Int32Array | null = null): Tensor {
    const bytes = elementCount(shape) * bytesPerElement(dtype);
    return this.#view(this.#arena.hold({ buffer, bytes, references: 0, indices }), shape, dtype);
  }

  #view(storage: Storage, shape: Shape, dtype: DType): Tensor {
    storage.references++;
    const tensor = new Tensor(this, storage, shape, dtype);
    this.#arena.register(tensor);
    return tensor;
  }

  // Checks that need to know whose tensor it is

  #checkAlive(op: string): void {
    if (this.#disposed) throw new DisposedError(`${op}: backend '${this.name}' has been disposed`);
  }

  #check(op: string, tensors: Record<string, Tensor>): void {
    this.#checkAlive(op);
    for (const name in tensors) {
      const x = tensors[name];
      if (!(x instanceof Tensor)) throw new ValueError(`${op}: ${name} is ${describe(x)}; expected a Tensor`);
      if (x.backend !== this) {
        throw new BackendMismatchError(
          `${op}: ${name} belongs to ${x.backend.name === this.name ? 'another instance of' : ''} backend '${x.backend.name}', not to this '${this.name}'; copy it with backend.tensor(await ${name}.data(), ...)`.replace(
            '  ',
            ' ',
          ),
        );
      }
      if (x.disposed) throw new DisposedError(`${op}: ${name} ${formatShape(x.shape)} has been disposed`);
    }
  }

  /** Alive, ours, floating, and of one type. */
  #checkFloat(op: string, tensors: Record<string, Tensor>): void {
    this.#check(op, tensors);
    for (const name in tensors) {
      if (tensors[name].dtype === 'i32') throw new DTypeError(`${op}: ${name} is i32; expected a floating type`);
    }
    checkSameDType(op, tensors);
  }

  /** As above, and all of the first one's shape. */
  #checkElementwise(op: string, tensors: Record<string, Tensor>): void {
    this.#checkFloat(op, tensors);
    const entries = Object.entries(tensors);
    const [firstName, first] = entries[0];
    for (const [name, x] of entries) {
      if (!sameShape(x.shape, first.shape)) {
        throw new ShapeError(
          `${op}: ${name} has shape ${formatShape(x.shape)}; expected that of ${firstName}, ${formatShape(first.shape)}`,
        );
      }
    }
  }

  #checkIds(op: string, name: string, ids: Tensor, vocabulary: number, ignore?: number): void {
    this.#check(op, { [name]: ids });
    if (ids.dtype !== 'i32') throw new DTypeError(`${op}: ${name} is ${ids.dtype}; expected i32`);
    const values = ids.storage.indices as Int32Array;
    for (let i = 0; i < values.length; i++) {
      const id = values[i];
      if ((id < 0 || id >= vocabulary) && id !== ignore) {
        throw new ValueError(
          `${op}: ${name} holds ${id} at element ${i}; expected 0 to ${vocabulary - 1} (the vocabulary has ${vocabulary} entries)`,
        );
      }
    }
  }

  #checkDType(op: string, dtype: DType): void {
    if (!DTYPES.includes(dtype)) {
      throw new DTypeError(`${op}: dtype is ${describe(dtype)}; expected one of ${DTYPES.join(', ')}`);
    }
    if (!this.dtypes.has(dtype)) {
      throw new UnsupportedError(
        `${op}: backend '${this.name}' (${this.device}) has no ${dtype}; it has ${[...this.dtypes].join(', ')}`,
      );
    }
  }
}

function kernelTensor(x: Tensor): KernelTensor {
  return { buffer: x.storage.buffer, shape: x.shape, dtype: x.dtype };
}

/** x [..., C] as [rows, C]. */
function rows(x: Tensor): KernelTensor {
  const width = x.shape[x.shape.length - 1];
  return { buffer: x.storage.buffer, shape: [x.size / width, width], dtype: x.dtype };
}

function flat(x: Tensor): KernelTensor {
  return { buffer: x.storage.buffer, shape: [x.size], dtype: x.dtype };
}

function checkShapeIs(op: string, name: string, x: Tensor, expected: Shape): void {
  if (!sameShape(x.shape, expected)) {
    throw new ShapeError(`${op}: ${name} has shape ${formatShape(x.shape)}; expected ${formatShape(expected)}`);
  }
}

function checkStatisticsScalar(op: string, name: string, x: Tensor, operands: DType): void {
  checkShapeIs(op, name, x, []);
  const expected = statisticsDType(operands);
  if (x.dtype !== expected) {
    throw new DTypeError(`${op}: ${name} is ${x.dtype}; expected ${expected} beside ${operands} operands`);
  }
}

function checkSameDType(op: string, tensors: Record<string, Tensor>): void {
  let first: string | undefined;
  for (const name in tensors) {
    first ??= name;
    if (tensors[name].dtype !== tensors[first].dtype) {
      throw new DTypeError(
        `${op}: ${name} is ${tensors[name].dtype} and ${first} is ${tensors[first].dtype}; expected one type; use cast`,
      );
    }
  }
}

function definedOnly(tensors: Record<string, Tensor | undefined>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).filter((entry): entry is [string, Tensor] => entry[1] !== undefined),
  );
}

function defaultDType(data: TensorData | readonly number[]): DType {
  if (data instanceof Int32Array) return 'i32';
  return data instanceof Float64Array ? 'f64' : 'f32';
}

/** Host data in the array type that `Kernels.upload` takes for `dtype`. */
function toHost(data: TensorData | readonly number[], dtype: DType): TensorData {
  if (dtype === 'i32') {
    if (data instanceof Int32Array) return data;
    for (let i = 0; i < data.length; i++) checkInteger('tensor', `data[${i}]`, data[i], -(2 ** 31), 2 ** 31 - 1);
    return Int32Array.from(data);
  }
  if (dtype === 'f64') return data instanceof Float64Array ? data : Float64Array.from(data);
  return data instanceof Float32Array ? data : Float32Array.from(data);
}
