export { type LazyAttentionOptions, lazyAttention } from './custom-op.ts';
export { ENGINES, type EngineName } from './engine.ts';
export { fromTfjs, toTfjs } from './interop.ts';
export { provider } from './provider.ts';
