/** The little of TensorFlow.js that is called here; its own types are there only where it is installed. */
export interface TfTensor {
  readonly shape: number[];
  data(): Promise<ArrayLike<number>>;
  dispose(): void;
}

export interface TfVariable extends TfTensor {
  assign(value: TfTensor): void;
}

export type Tensors = Record<string, TfTensor>;
type Operand = TfTensor | number;

export interface Tf {
  readonly version_core: string;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tidy<T>(fn: () => T): T;
  tensor(data: Float32Array | Int32Array, shape: readonly number[], dtype?: 'float32' | 'int32'): TfTensor;
  zeros(shape: readonly number[]): TfTensor;
  ones(shape: readonly number[]): TfTensor;
  randomUniform(shape: readonly number[], low: number, high: number): TfTensor;
  variable(initial: TfTensor, trainable: boolean, name: string): TfVariable;
  variableGrads(
    fn: () => TfTensor,
    variables: readonly TfVariable[],
  ): { readonly value: TfTensor; readonly grads: Tensors };
  grads(fn: (...xs: TfTensor[]) => TfTensor): (xs: readonly TfTensor[], dy: TfTensor) => TfTensor[];
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  add(a: Operand, b: Operand): TfTensor;
  sub(a: Operand, b: Operand): TfTensor;
  mul(a: Operand, b: Operand): TfTensor;
  div(a: Operand, b: Operand): TfTensor;
  minimum(a: Operand, b: Operand): TfTensor;
  square(x: TfTensor): TfTensor;
  sqrt(x: TfTensor): TfTensor;
  rsqrt(x: TfTensor): TfTensor;
  relu(x: TfTensor): TfTensor;
  sigmoid(x: TfTensor): TfTensor;
  softmax(x: TfTensor): TfTensor;
  logSoftmax(x: TfTensor): TfTensor;
  sum(x: TfTensor): TfTensor;
  mean(x: TfTensor, axis: number, keepDims: boolean): TfTensor;
  reshape(x: TfTensor, shape: readonly number[]): TfTensor;
  transpose(x: TfTensor, axes: readonly number[]): TfTensor;
  concat(xs: readonly TfTensor[], axis: number): TfTensor;
  split(x: TfTensor, parts: number, axis: number): [TfTensor, TfTensor];
  slice(x: TfTensor, begin: readonly number[], size: readonly number[]): TfTensor;
  reverse(x: TfTensor, axis: number): TfTensor;
  oneHot(ids: TfTensor, depth: number): TfTensor;
}
