import type { BinaryFunction, UnaryFunction } from '@lazy-attention/core';
import { ELEMENTWISE_THREADS, index, vectorOf } from './elementwise.ts';
import { BINARY, UNARY } from './functions.ts';
import { type ElementType, kernel, type ParamTypes, read, type Scalar, write } from './kernel.ts';
import { range, unroll } from './text.ts';

/** y = fn(x), four at a time. */
export const unary = kernel({
  name: 'unary',
  params: { vectors: 'u32' },
  text: ({ fn, type }: { readonly fn: UnaryFunction; readonly type: Scalar }) => ({
    buffers: { xs: read(vectorOf(type)), ys: write(vectorOf(type)) },
    workgroupSize: ELEMENTWISE_THREADS,
    declarations: UNARY[fn].uses.join('\n'),
    body: `
      ${index('vectors')}
      let x = vec4<f32>(xs[i]);
      ys[i] = ${vectorOf(type)}(${UNARY[fn].value});`,
  }),
});

/**
 * How four neighbours of the result find an operand: in four neighbours of it, in one that repeats along the last axis, or
 * each at a place of its own.
 */
export type Access = 'vector' | 'splat' | 'gather';

type BinaryVariant<A extends Access> = {
  readonly fn: BinaryFunction;
  readonly type: Scalar;
  readonly a: A;
  readonly b: A;
};

const elementOf = (access: Access, type: Scalar): ElementType => (access === 'vector' ? vectorOf(type) : type);

/** out = fn(a, b) where the view has one axis: both in order, or one of them a scalar. */
export const binary = kernel({
  name: 'binary',
  params: { vectors: 'u32' },
  text: ({ fn, type, a, b }: BinaryVariant<'vector' | 'splat'>) => {
    const load = (name: string, access: Access): string =>
      access === 'vector' ? `vec4<f32>(${name}[i])` : `vec4<f32>(f32(${name}[0]))`;
    return {
      buffers: { left: read(elementOf(a, type)), right: read(elementOf(b, type)), out: write(vectorOf(type)) },
      workgroupSize: ELEMENTWISE_THREADS,
      declarations: BINARY[fn].uses.join('\n'),
      body: `
        ${index('vectors')}
        let a = ${load('left', a)};
        let b = ${load('right', b)};
        out[i] = ${vectorOf(type)}(${BINARY[fn].value});`,
    };
  },
});

/** Most merged axes of a view. */
const MAX_AXES = 8;

/** `size0`, `size1`, ...: one parameter per axis. */
type AxisParams<N extends string> = `${N}${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`;
const axisParams = <N extends string>(name: N): ParamTypes<AxisParams<N>> =>
  Object.fromEntries(range(MAX_AXES).map((axis) => [name + axis, 'u32'])) as ParamTypes<AxisParams<N>>;

/** Values of `axisParams`; axes that a view does not have are not read. */
export const axisValues = <N extends string>(
  name: N,
  values: readonly number[],
): Readonly<Record<AxisParams<N>, number>> =>
  Object.fromEntries(range(MAX_AXES).map((axis) => [name + axis, values[axis] ?? 0])) as Record<AxisParams<N>, number>;

/** `<name>Place(entry)`: index into an operand of an entry of the merged axes, by the strides `<name>0`, `<name>1`, ... */
const placeFunction = (name: string, axes: number): string => `
  fn ${name}Place(entry: u32) -> u32 {
    var rest = entry;
    var place = 0u;
    ${unroll(axes - 1, (i) => {
      const axis = axes - 1 - i;
      return `place += rest % params.size${axis} * params.${name}${axis};\nrest /= params.size${axis};`;
    })}
    return place + rest * params.${name}0;
  }`;

/** Four entries of `operand`, converted to `to`. With 'gather' the axes are counted in elements, else in vec4s. */
function loadFour(operand: string, name: string, access: Access, to: ElementType): string {
  const vector = `vec4<${to}>`;
  if (access === 'vector') return `${vector}(${operand}[${name}Place(i)])`;
  if (access === 'splat') return `${vector}(${to}(${operand}[${name}Place(i)]))`;
  const entry = (e: number): string => `min(4u * i + ${e}u, params.elements - 1u)`;
  return `${vector}(${range(4)
    .map((e) => `${to}(${operand}[${name}Place(${entry(e)})])`)
    .join(', ')})`;
}

/** out = fn(a, b) over any view; either both gather, or neither. */
export const binaryView = kernel({
  name: 'binaryView',
  params: { vectors: 'u32', elements: 'u32', ...axisParams('size'), ...axisParams('a'), ...axisParams('b') },
  text: ({ fn, type, a, b, axes }: BinaryVariant<Access> & { readonly axes: number }) => ({
    buffers: { left: read(elementOf(a, type)), right: read(elementOf(b, type)), out: write(vectorOf(type)) },
    workgroupSize: ELEMENTWISE_THREADS,
    declarations: [...BINARY[fn].uses, placeFunction('a', axes), placeFunction('b', axes)].join('\n'),
    body: `
      ${index('vectors')}
      let a = ${loadFour('left', 'a', a, 'f32')};
      let b = ${loadFour('right', 'b', b, 'f32')};
      out[i] = ${vectorOf(type)}(${BINARY[fn].value});`,
  }),
});

/** Entries that are moved and not computed with: 32 bits of whatever type, or a half. */
export type Moved = 'u32' | 'f16';

/** out[entry] = x[place of the entry]: permutes and repeats. */
export const rearrange = kernel({
  name: 'rearrange',
  params: { vectors: 'u32', elements: 'u32', ...axisParams('size'), ...axisParams('x') },
  text: ({ type, x, axes }: { readonly type: Moved; readonly x: Access; readonly axes: number }) => ({
    buffers: { xs: read(x === 'vector' ? `vec4<${type}>` : type), out: write(`vec4<${type}>`) },
    workgroupSize: ELEMENTWISE_THREADS,
    declarations: placeFunction('x', axes),
    body: `
      ${index('vectors')}
      out[i] = ${loadFour('xs', 'x', x, type)};`,
  }),
});
