import type { RopeScaling } from '@lazy-attention/nn';
import type * as v from 'valibot';
import { ModelError } from '../errors.ts';
import { type HfConfig, RopeSchema } from './schema.ts';

type Rope = v.InferOutput<typeof RopeSchema>;

/** Base and scaling of the rotary frequencies, from `rope_parameters`, or `rope_theta` and `rope_scaling` of older files. */
export function ropeOf(
  path: string,
  config: HfConfig,
  defaultBase: number,
): { readonly ropeBase: number; readonly ropeScaling: RopeScaling | null } {
  const { rope_parameters: parameters, rope_scaling: older } = config;
  // transformers takes the older one then; a file that says two things is nobody's intention.
  if (parameters != null && older != null && JSON.stringify(parameters) !== JSON.stringify(older)) {
    throw new ModelError(
      'MODEL_CONFIG',
      path,
      "keys 'rope_parameters' and 'rope_scaling' differ; leave one of them out",
    );
  }
  const key = parameters == null ? 'rope_scaling' : 'rope_parameters';
  const rope: Rope = parameters ?? older ?? {};
  checkKeys(path, key, rope);
  const ropeBase = rope.rope_theta ?? config.rope_theta ?? defaultBase;
  const partial = rope.partial_rotary_factor ?? config.partial_rotary_factor ?? 1;
  if (partial !== 1) {
    throw new ModelError('MODEL_UNSUPPORTED', path, `key 'partial_rotary_factor' is ${partial}; supported is 1`);
  }
  return { ropeBase, ropeScaling: scalingOf(path, key, rope, config) };
}

/** Keys that say nothing about the function. */
const SILENT = ['finetuned'];

/** @throws ModelError for a key that would be passed over: `mrope_section`, a table for each type of layer */
function checkKeys(path: string, key: string, rope: Rope): void {
  for (const [name, value] of Object.entries(rope)) {
    if (value === null || Object.hasOwn(RopeSchema.entries, name) || SILENT.includes(name)) continue;
    const known = Object.keys(RopeSchema.entries).join(', ');
    throw new ModelError('MODEL_UNSUPPORTED', path, `key '${key}.${name}' is not supported; supported are ${known}`);
  }
}

function scalingOf(path: string, key: string, rope: Rope, config: HfConfig): RopeScaling | null {
  const type = rope.rope_type ?? rope.type ?? 'default';
  const context = config.max_position_embeddings ?? undefined;
  const need = (name: keyof Rope & string, other?: number): number => {
    const value = rope[name] ?? other;
    if (typeof value === 'number') return value;
    throw new ModelError('MODEL_CONFIG', path, `key '${key}.${name}' is missing; rope type '${type}' needs it`);
  };
  const originalContext = () => need('original_max_position_embeddings', context);
  switch (type) {
    case 'default':
      return null;
    case 'linear':
      return { type, factor: need('factor') };
    case 'dynamic':
      // The length from which on the base grows is the model's, whatever the scaling says.
      return { type, factor: need('factor'), originalContext: context ?? need('original_max_position_embeddings') };
    case 'llama3':
      return {
        type,
        factor: need('factor'),
        lowFrequencyFactor: need('low_freq_factor'),
        highFrequencyFactor: need('high_freq_factor'),
        originalContext: originalContext(),
      };
    case 'yarn': {
      const original = originalContext();
      const factor = need('factor', context === undefined ? undefined : context / original);
      const attentionFactor = rope.attention_factor ?? ratioOfScales(rope, factor);
      return {
        type,
        factor,
        originalContext: original,
        ...(rope.beta_fast == null ? {} : { betaFast: rope.beta_fast }),
        ...(rope.beta_slow == null ? {} : { betaSlow: rope.beta_slow }),
        ...(attentionFactor === undefined ? {} : { attentionFactor }),
        ...(rope.truncate == null ? {} : { truncate: rope.truncate }),
      };
    }
    default:
      throw new ModelError(
        'MODEL_UNSUPPORTED',
        path,
        `key '${key}.rope_type' is '${type}'; supported are default, linear, dynamic, llama3, yarn`,
      );
  }
}

/** `mscale` and `mscale_all_dim`, where both are given and not zero. */
function ratioOfScales({ mscale, mscale_all_dim: all }: Rope, factor: number): number | undefined {
  if (!mscale || !all) return undefined;
  const scale = (by: number) => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1);
  return scale(mscale) / scale(all);
}
