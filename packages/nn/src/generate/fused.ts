import { type Backend, computedDType, type SampleOptions, statisticsDType } from '@lazy-attention/core';
import { fixedBias } from '../layers/alibi.ts';
import type { KvCache } from '../layers/cache.ts';
import { fusesModel, layerState, ropeBaseOf } from '../layers/decoder.ts';
import type { LazyTransformerConfig } from '../model/config.ts';
import { layerNamesOf } from '../model/parameters.ts';
import { type Params, param } from '../params.ts';

/** Several tokens in one launch. */
export interface FusedDecoder {
  /**
   * `steps` tokens per row that follow `tokens` (one per row), step by step. `starts` and `uniforms` are [steps, batch]: first key that
   * a token attends, null for 0, and the random numbers.
   */
  draw(
    tokens: Int32Array,
    steps: number,
    starts: Int32Array | null,
    uniforms: Float64Array | undefined,
  ): Promise<Int32Array>;
  dispose(): void;
}

/**
 * Null where the backend does not fuse decoding, where the op does not compute this model (`fusesModel`), and where weights have
 * another type than the cache and would be cast op by op.
 */
export function fusedDecoder(
  backend: Backend,
  config: LazyTransformerConfig,
  params: Params,
  cache: KvCache,
  { temperature, topK, topP }: SampleOptions,
): FusedDecoder | null {
  const embeddings = param(params, 'model.embeddings.weight');
  const { dtype } = cache.layers[0].k;
  const { decoder } = backend;
  if (decoder === undefined || !fusesModel(config) || computedDType(embeddings.dtype) !== dtype) return null;
  // The scope gives the bias back if a parameter is missing.
  const { weights, bias } = backend.scope(() => {
    const bias = fixedBias(backend, config, cache.capacity, statisticsDType(dtype));
    const weights = {
      embeddings,
      layers: layerNamesOf(config).map((names, layer) => layerState(names, params, cache.layers[layer], bias)),
      norm: param(params, 'model.norm.weight'),
      head: config.tieEmbeddings ? embeddings : param(params, 'lm_head.weight'),
    };
    return { weights, bias };
  });
  return {
    async draw(tokens, steps, starts, uniforms) {
      const position = cache.length;
      const ids = backend.tensor(tokens, [cache.batch]);
      const firsts = starts === null ? undefined : backend.tensor(starts, [steps, cache.batch]);
      const drawing = decoder.decode(ids, weights, {
        steps,
        position,
        starts: firsts,
        ropeBase: ropeBaseOf(config),
        epsilon: config.normEpsilon,
        temperature,
        topK,
        topP,
        uniforms,
      });
      cache.length += steps; // launched: work is done in order
      ids.dispose();
      firsts?.dispose();
      return drawing;
    },
    dispose: () => bias?.dispose(),
  };
}
