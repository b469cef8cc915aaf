import type { AttentionDefinition } from './definition.ts';
import { entmax15 } from './kinds/entmax.ts';
import { forgetting } from './kinds/forgetting.ts';
import { gated } from './kinds/gated.ts';
import { gatedDeltaNet } from './kinds/gated-deltanet.ts';
import { sigmoid } from './kinds/sigmoid.ts';
import { softpick } from './kinds/softpick.ts';

/** The kinds that come with the package, in the order of lists. Nothing compares with their names: what differs stands here. */
export const BUILT_IN: readonly AttentionDefinition[] = [
  {
    name: 'lazy',
    label: 'Lazy',
    description: 'RoPE, a learnable bias by head and distance, and Elastic-Softmax',
    role: 'subject',
    comparedByDefault: true,
    color: { light: '#0b62c4', dark: '#58a6ff' },
    symbol: 'circle',
    rope: true,
    fused: { bias: 'learned', tau: 'learned' },
  },
  {
    name: 'bias-only',
    label: 'Bias only',
    description: 'lazy without Elastic-Softmax',
    role: 'ablation',
    comparedByDefault: true,
    color: { light: '#b07b00', dark: '#e5b23c' },
    symbol: 'diamond',
    rope: true,
    fused: { bias: 'learned', tau: null },
  },
  {
    name: 'elastic-only',
    label: 'Elastic only',
    description: 'lazy without the learnable bias',
    role: 'ablation',
    comparedByDefault: true,
    color: { light: '#1f8f6b', dark: '#4fd0a4' },
    symbol: 'roundRect',
    rope: true,
    fused: { bias: null, tau: 'learned' },
  },
  {
    name: 'softmax',
    label: 'Softmax',
    description: 'softmax with RoPE, as in LLaMA',
    role: 'reference',
    comparedByDefault: true,
    color: { light: '#d1453b', dark: '#ff8075' },
    symbol: 'rect',
    rope: true,
    fused: { bias: null, tau: null },
  },
  {
    name: 'alibi',
    label: 'ALiBi',
    description: 'softmax without RoPE, with a fixed bias of -slope * distance',
    role: 'baseline',
    comparedByDefault: true,
    color: { light: '#8a55c0', dark: '#c79bf2' },
    symbol: 'triangle',
    rope: false,
    fused: { bias: 'alibi', tau: null },
  },
  {
    name: 'sink',
    label: 'Sink logit',
    description: 'softmax with RoPE and a learned logit per head of a key that is not there, as in gpt-oss',
    role: 'baseline',
    comparedByDefault: false,
    color: { light: '#5c6b7a', dark: '#a8b6c4' },
    symbol: 'pin',
    rope: true,
    fused: { bias: null, tau: null, sink: 'learned' },
  },
  {
    name: 'off-by-one',
    label: 'Off by one',
    description: 'softmax with RoPE and 1 added to the denominator: a sink logit of 0',
    role: 'baseline',
    comparedByDefault: false,
    color: { light: '#8a6d3b', dark: '#cbb37d' },
    symbol: 'arrow',
    rope: true,
    fused: { bias: null, tau: null, sink: 'zero' },
  },
  gated,
  softpick,
  sigmoid,
  entmax15,
  forgetting,
  gatedDeltaNet,
];
