import { checkBoolean, checkChoice, checkKeys, checkPositive, checkSize } from './checks.ts';
import type { AttentionConfig, RopeScaling } from './config.ts';

/** Angle per position of each of the D/2 pairs, and what cosines and sines are multiplied by. */
export interface RopeFrequencies {
  /** [D/2] */
  readonly perPosition: Float64Array;
  /** 1 except for yarn. */
  readonly factor: number;
}

const TYPES = ['linear', 'dynamic', 'llama3', 'yarn'];
const KEYS: Readonly<Record<RopeScaling['type'], readonly string[]>> = {
  linear: [],
  dynamic: ['originalContext'],
  llama3: ['originalContext', 'lowFrequencyFactor', 'highFrequencyFactor'],
  yarn: ['originalContext', 'betaFast', 'betaSlow', 'attentionFactor', 'truncate'],
};
const OPTIONAL = ['betaFast', 'betaSlow', 'attentionFactor', 'truncate'];

/** Checks the numbers of a scaling. @throws ConfigError */
export function resolveScaling(where: string, scaling: RopeScaling | null): RopeScaling | null {
  if (scaling === null) return null;
  checkKeys(`${where}: ropeScaling`, scaling, ['type', 'factor', ...Object.values(KEYS).flat()]);
  checkChoice(where, 'ropeScaling.type', scaling.type, TYPES);
  const keys = ['type', 'factor', ...KEYS[scaling.type]];
  checkKeys(`${where}: ropeScaling of type '${scaling.type}'`, scaling, keys);
  for (const key of keys.slice(1)) {
    const value: unknown = scaling[key as keyof RopeScaling];
    if (value === undefined && OPTIONAL.includes(key)) continue;
    if (key === 'originalContext') checkSize(where, `ropeScaling.${key}`, value);
    else if (key === 'truncate') checkBoolean(where, `ropeScaling.${key}`, value);
    else checkPositive(where, `ropeScaling.${key}`, value);
  }
  return scaling;
}

/** spec §RoPE and §RoPE scaling. `keyLength` counts the keys so far, which 'dynamic' looks at. */
export function ropeFrequencies(
  { headDim, ropeBase, ropeScaling }: Pick<AttentionConfig, 'headDim' | 'ropeBase' | 'ropeScaling'>,
  keyLength: number,
): RopeFrequencies {
  const plain = frequencies(ropeBase, headDim);
  if (ropeScaling === null) return { perPosition: plain, factor: 1 };
  switch (ropeScaling.type) {
    case 'linear':
      return { perPosition: plain.map((f) => f / ropeScaling.factor), factor: 1 };
    case 'dynamic':
      return { perPosition: frequencies(dynamicBase(ropeBase, headDim, ropeScaling, keyLength), headDim), factor: 1 };
    case 'llama3':
      return { perPosition: plain.map((f) => llama3(f, ropeScaling)), factor: 1 };
    case 'yarn':
      return yarn(plain, ropeBase, headDim, ropeScaling);
  }
}

type Scaling<T extends RopeScaling['type']> = Extract<RopeScaling, { type: T }>;

function frequencies(base: number, headDim: number): Float64Array {
  return Float64Array.from({ length: headDim / 2 }, (_, d) => base ** ((-2 * d) / headDim));
}

function dynamicBase(base: number, headDim: number, { factor, originalContext }: Scaling<'dynamic'>, keys: number) {
  const longer = Math.max(keys, originalContext) / originalContext;
  return base * (factor * longer - (factor - 1)) ** (headDim / (headDim - 2));
}

function llama3(frequency: number, scaling: Scaling<'llama3'>): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalContext } = scaling;
  const turns = (originalContext * frequency) / (2 * Math.PI);
  if (turns < lowFrequencyFactor) return frequency / factor;
  if (turns > highFrequencyFactor) return frequency;
  const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - kept) * frequency) / factor + kept * frequency;
}

function yarn(plain: Float64Array, base: number, headDim: number, scaling: Scaling<'yarn'>): RopeFrequencies {
  const { factor, originalContext, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  const { attentionFactor = factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1 } = scaling;
  /** The pair that makes so many turns over the original context. */
  const pairOf = (turns: number) =>
    (headDim * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const low = Math.max(truncate ? Math.floor(pairOf(betaFast)) : pairOf(betaFast), 0);
  const high = Math.min(truncate ? Math.ceil(pairOf(betaSlow)) : pairOf(betaSlow), headDim - 1);
  const width = low === high ? 0.001 : high - low;
  const perPosition = plain.map((frequency, pair) => {
    const divided = Math.min(Math.max((pair - low) / width, 0), 1);
    return (divided * frequency) / factor + (1 - divided) * frequency;
  });
  return { perPosition, factor: attentionFactor };
}
