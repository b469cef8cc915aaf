import type { DecoderKernels } from '../contract/decoder.ts';
import { ValueError } from '../errors.ts';
import type { TensorStore } from '../lifetimes/store.ts';
import { planDecode } from './decode.ts';
import { planDecoderLayer } from './layer.ts';
import type { Decoder } from './types.ts';

/** `Decoder` on a backend's kernels, checked as every op is. */
export function createDecoder(store: TensorStore, kernels: DecoderKernels): Decoder {
  const launch = kernels.layer?.bind(kernels);
  const layer: Decoder['layer'] =
    launch &&
    ((x, weights, options) => {
      const { problem, written } = planDecoderLayer(store, x, weights, options);
      launch(problem);
      for (const storage of written) storage.version++;
    });
  return {
    ...(layer === undefined ? {} : { layer }),
    async decode(tokens, weights, options) {
      const { problem, written } = planDecode(store, tokens, weights, options);
      const { steps, sizes } = problem;
      const drawn = store.wrap(kernels.decode(problem), [steps, sizes.batch], 'i32');
      for (const storage of written) storage.version++;
      const ids = (await drawn.data().finally(() => drawn.dispose())) as Int32Array;
      const wrong = ids.find((id) => id < 0);
      if (wrong === undefined) return ids;
      throw new ValueError(`decoder.decode: the logit of token ${-1 - wrong} is NaN; the parameters have diverged`);
    },
  };
}
