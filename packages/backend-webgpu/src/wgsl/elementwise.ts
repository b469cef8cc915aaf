import { type Binding, type Kernel, kernel, type ParamTypes, read, type Scalar, write } from './kernel.ts';

/** Four neighbours of a tensor of `type`. */
export const vectorOf = (type: Scalar): 'vec4<f32>' | 'vec4<f16>' => `vec4<${type}>`;

/** Invocations per workgroup of the kernels that treat elements one by one. */
export const ELEMENTWISE_THREADS = 64;

/** Index `i` of this invocation's element or vec4 below params.`count`; grids wider than a dimension allows wrap into y. */
export const index = (count: string): string => `
  let i = (group.y * groups.x + group.x) * ${ELEMENTWISE_THREADS}u + lane;
  if (i >= params.${count}) { return; }`;

/** Variants of kernels that differ in the operands' type alone. */
export type Typed = { readonly type: Scalar };

interface Pointwise<I extends string, R extends string, P extends string> {
  readonly inputs: readonly I[];
  /** Code before the results, which sees the inputs as vec4<f32>. */
  readonly compute?: string;
  /** Each result's expression. */
  readonly results: Readonly<Record<R, string>>;
  readonly params?: ParamTypes<P>;
}

/** Elements in groups of four; the last group may reach into the padding of the buffer. */
function pointwise<I extends string, R extends string, P extends string = never>(
  name: string,
  { inputs, compute = '', results, params }: Pointwise<I, R, P>,
): Kernel<Typed, I | R, P | 'vectors'> {
  return kernel({
    name,
    params: { vectors: 'u32', ...params } as ParamTypes<P | 'vectors'>,
    text: ({ type }: Typed) => {
      const vector = vectorOf(type);
      const outputs = Object.entries<string>(results);
      const buffers = [
        ...inputs.map((input) => [input, read(vector)] as const),
        ...outputs.map(([result]) => [result, write(vector)] as const),
      ];
      return {
        buffers: Object.fromEntries(buffers) as Record<I | R, Binding>,
        workgroupSize: ELEMENTWISE_THREADS,
        body: `
          ${index('vectors')}
          ${inputs.map((input) => `let ${input} = vec4<f32>(${input}[i]);`).join('\n')}
          ${compute}
          ${outputs.map(([result, value]) => `${result}[i] = ${vector}(${value});`).join('\n')}`,
      };
    },
  });
}

/** y = factor * x. */
export const scale = pointwise('scale', {
  inputs: ['x'],
  results: { y: 'params.factor * x' },
  params: { factor: 'f32' },
});

/** The exponential is taken of a number that is never positive: no overflow. */
const SIGMOID = `
  let e = exp(-abs(gate));
  let sigmoid = select(e, vec4<f32>(1.0), gate >= vec4<f32>()) / (1.0 + e);`;

/** gate * sigmoid(gate) * up. */
export const swiglu = pointwise('swiglu', {
  inputs: ['gate', 'up'],
  compute: SIGMOID,
  results: { y: 'gate * sigmoid * up' },
});

/** dgate = dy up silu'(gate), with silu' = sigmoid (1 + gate (1 - sigmoid)); dup = dy silu(gate). */
export const swigluGrad = pointwise('swigluGrad', {
  inputs: ['dy', 'gate', 'up'],
  compute: SIGMOID,
  results: {
    dgate: 'dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid))',
    dup: 'dy * gate * sigmoid',
  },
});

/** y = x in another floating type. */
export const cast = kernel({
  name: 'cast',
  params: { vectors: 'u32' },
  text: ({ from, to }: { readonly from: Scalar; readonly to: Scalar }) => ({
    buffers: { x: read(vectorOf(from)), y: write(vectorOf(to)) },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('vectors')}
      y[i] = ${vectorOf(to)}(x[i]);`,
  }),
});

/** Every element = the parameter, given as bits, so that one text serves f32 and i32. */
export const fill = kernel({
  name: 'fill',
  params: { vectors: 'u32', bits: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { y: write(type === 'f16' ? 'vec4<f16>' : 'vec4<u32>') },
    workgroupSize: ELEMENTWISE_THREADS,
    body: `
      ${index('vectors')}
      y[i] = ${type === 'f16' ? 'vec4<f16>(f16(bitcast<f32>(params.bits)))' : 'vec4<u32>(params.bits)'};`,
  }),
});
