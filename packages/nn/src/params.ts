import { type Backend, type FloatDType, LEARNED_NAMES, type Tensor, ValueError } from '@lazy-attention/core';

/** Parameters or their gradients: a flat record from name to tensor. */
export type Params = Readonly<Record<string, Tensor>>;

/** Gives all tensors back. */
export function disposeParams(params: Params): void {
  for (const tensor of Object.values(params)) tensor.dispose();
}

/**
 * The parameters as inference in `dtype` wants them, so that a model with that `computeDType` need not cast on every
 * call. Attention's learned inputs are statistics and stay as they are. The caller disposes the result; the originals
 * can go before.
 */
export function castParams(backend: Backend, params: Params, dtype: FloatDType): Params {
  return backend.scope(() =>
    Object.fromEntries(
      Object.entries(params).map(([name, tensor]) => [
        name,
        backend.cast(tensor, isStatistic(name) ? tensor.dtype : dtype),
      ]),
    ),
  );
}

/** @throws ValueError, with the names that are there, when it is missing */
export function param(params: Params, name: string): Tensor {
  const tensor = params[name];
  if (tensor === undefined) {
    throw new ValueError(
      `params has no '${name}'; it has ${Object.keys(params).length} entries: ${listed(Object.keys(params))}`,
    );
  }
  return tensor;
}

/** The parameter, or undefined where the model has none of this kind (`name` is undefined). */
export function optionalParam(params: Params, name: string | undefined): Tensor | undefined {
  return name === undefined ? undefined : param(params, name);
}

const STATISTIC = new RegExp(`(^|\\battn\\.)(${LEARNED_NAMES.join('|')})$`);

/** Attention's learned inputs are no weights: they live in the statistics type and never decay. */
export function isStatistic(name: string): boolean {
  return STATISTIC.test(name);
}

export function listed(names: readonly string[], most = 5): string {
  return names.length <= most ? names.join(', ') : `${names.slice(0, most).join(', ')}, ...`;
}
