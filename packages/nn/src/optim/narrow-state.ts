import type { AdamWOptions, AdamWTensors, Backend, Tensor } from '@lazy-attention/core';
import { neighbours } from '../groups.ts';
import type { Params } from '../params.ts';

/** Elements of the parameters whose narrow state is wide at a time: 16 MB of m and v in f32. */
const GROUP = 2 ** 21;

/** As `backend.adamw`, for m and v in a narrower type than the parameters': a few at a time are widened, and rounded to nearest. */
export function adamwNarrow(backend: Backend, updates: readonly AdamWTensors[], options: AdamWOptions): void {
  for (const group of neighbours(updates, ({ param }) => param.size, GROUP)) {
    backend.scope(() => {
      const wide = group.map(({ param, m, v, ...rest }) => ({
        ...rest,
        param,
        m: backend.cast(m, param.dtype),
        v: backend.cast(v, param.dtype),
      }));
      backend.adamw(wide, options);
      const store = (narrow: Tensor, x: Tensor) => backend.copyInto(narrow, backend.cast(x, narrow.dtype), 0, 0);
      for (const [i, { m, v }] of group.entries()) {
        store(m, wide[i].m);
        store(v, wide[i].v);
      }
    });
  }
}

/** State to go on from, in the type that it is kept in; what had another is used up. */
export function inStateDType(backend: Backend, moments: Params, params: Params, dtype: 'bf16' | undefined): Params {
  return Object.fromEntries(
    Object.entries(moments).map(([name, x]) => {
      const wanted = dtype ?? params[name].dtype;
      if (x.dtype === wanted) return [name, x];
      const cast = backend.cast(x, wanted);
      x.dispose();
      return [name, cast];
    }),
  );
}
