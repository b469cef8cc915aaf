import type { ParamTypes } from '../wgsl/kernel.ts';

/** Room for the parameters of one dispatch, in bytes. */
export const PARAMETER_BYTES = 128;

/** Writes the parameters of a dispatch at the word `base` of two views of one memory. */
export type ParameterWriter = (
  words: Uint32Array,
  floats: Float32Array,
  base: number,
  values: Readonly<Record<string, number>>,
) => void;

/** The writer for the uniform struct that `types` declares: one word per parameter, in its order. */
export function parameterWriter(types: ParamTypes): ParameterWriter {
  const names = Object.keys(types);
  const isFloat = names.map((name) => types[name] === 'f32');
  return (words, floats, base, values) => {
    for (let i = 0; i < names.length; i++) (isFloat[i] ? floats : words)[base + i] = values[names[i]];
  };
}
