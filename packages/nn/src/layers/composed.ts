import { formatShape, type Ops, ShapeError, statisticsDType, type Tensor, ValueError } from '@lazy-attention/core';
import type { AttentionInputs, ComposedAttention, Memory } from '../attention/definition.ts';
import { param } from '../params.ts';
import type { Operands } from './operands.ts';
import { scoped } from './scoped.ts';

/** The output [B, L, H, D] by the kind's own function; with a cache it sees the keys in use, not the capacity. */
export function composedOutput(ops: Ops, kind: ComposedAttention, operands: Operands): Tensor {
  const { config, names, params, x, q, offset, keyLength, options } = operands;
  const { cache, observe } = options;
  const starts = options.starts ?? undefined;
  return scoped(ops, observe, () => {
    const inUse = (kept: Tensor) => (cache === undefined ? kept : ops.slice(kept, 1, 0, keyLength));
    const [k, v] = [inUse(operands.k), inUse(operands.v)];
    const own = Object.entries(names.own).map(([name, full]) => [name, param(params, full)]);
    const output = kind.attend(ops, {
      config,
      x,
      q,
      k,
      v,
      params: Object.fromEntries(own),
      starts,
      offset,
      keyLength,
      ...memory(ops, kind, operands),
    });
    checkOutput(kind, q, output);
    observe?.({ q, k, v, keyLength, starts, output });
    return output;
  });
}

/** What the kind remembers, in the cache of its layer. */
function memory(
  ops: Ops,
  kind: ComposedAttention,
  { config, x, options, keyLength }: Operands,
): Pick<AttentionInputs, 'remember' | 'recall' | 'store'> {
  const { cache, layer = 0 } = options;
  const dtype = statisticsDType(x.dtype);
  const batch = x.shape[0];
  const declared = (name: string, per: Memory['per']): Memory => {
    const found = Object.entries(kind.remembers(config)).find(([own]) => own === name)?.[1];
    if (found?.per === per) return found;
    throw new ValueError(
      `attention '${kind.name}': remembers has no '${name}' per ${per}; name it there, with its shape`,
    );
  };
  return {
    remember(name, value) {
      const { shape } = declared(name, 'token');
      checkShape(kind, name, value, [batch, x.shape[1], ...shape]);
      const now = value.dtype === dtype ? value : ops.cast(value, dtype);
      if (cache === undefined) return now;
      const kept = cache.layers[layer].own[name];
      cache.backend.copyInto(kept, now, 1, cache.length);
      return ops.slice(kept, 1, 0, keyLength);
    },
    recall(name) {
      const { shape } = declared(name, 'sequence');
      if (cache === undefined) return x.backend.zeros([batch, ...shape], dtype);
      const kept = cache.layers[layer].own[name];
      return ops.slice(kept, 0, 0, batch);
    },
    store(name, state) {
      const { shape } = declared(name, 'sequence');
      checkShape(kind, name, state, [batch, ...shape]);
      if (cache === undefined) return;
      cache.backend.copyInto(cache.layers[layer].own[name], ops.cast(state, dtype), 0, 0);
    },
  };
}

function checkShape(kind: ComposedAttention, name: string, value: Tensor, expected: readonly number[]): void {
  if (formatShape(value.shape) === formatShape(expected)) return;
  throw new ShapeError(
    `attention '${kind.name}': '${name}' has shape ${formatShape(value.shape)}; remembers says ${formatShape(expected)}`,
  );
}

function checkOutput(kind: ComposedAttention, q: Tensor, output: Tensor | undefined): void {
  const found = output?.shape;
  if (found !== undefined && formatShape(found) === formatShape(q.shape)) return;
  throw new ShapeError(
    `attention '${kind.name}': attend returned ${found === undefined ? String(output) : `shape ${formatShape(found)}`}; expected a tensor ${formatShape(q.shape)}, that of q`,
  );
}
