import type { LearnedOptions, Tensor } from '@lazy-attention/core';
import type { AttentionConfig } from '../model/config.ts';
import type { AttentionNames } from '../model/names.ts';
import type { Params } from '../params.ts';
import type { KvCache } from './cache.ts';
import type { Rotation } from './rotation.ts';

/** What attention worked with, valid during the call that shows it; the bias may be ALiBi's. */
export interface ObservedAttention extends LearnedOptions {
  /** [B, L, H, D], rotated. */
  readonly q: Tensor;
  /** [B, S, Hkv, D], rotated; with a cache, its whole capacity of which `keyLength` are in use. */
  readonly k: Tensor;
  /** [B, S, Hkv, D], as k. */
  readonly v: Tensor;
  /** Keys in use. */
  readonly keyLength: number;
  /** [B, L] i32: first key that a row attends. */
  readonly starts: Tensor | undefined;
  /** [B, L, H, D]: before the output projection. */
  readonly output: Tensor;
}

/** How a layer runs. */
export interface AttentionForwardOptions {
  /** [B, L] i32: first key position that a row attends. Packed documents, left padding, sliding windows. */
  readonly starts?: Tensor | null | undefined;
  /** Keys and values of earlier tokens; those of x are added. For inference. */
  readonly cache?: KvCache | undefined;
  /** Called with what attention worked with. */
  readonly observe?: ((attention: ObservedAttention) => void) | undefined;
}

/** Options of `attend`: what the layers of a model share. */
export interface InnerOptions extends AttentionForwardOptions {
  /** Which entry of the cache is this layer's. */
  readonly layer?: number;
  /** Added to the result, and used up. */
  readonly residual?: Tensor;
  /** ALiBi's table, when the caller has one for all layers. */
  readonly fixedBias?: Tensor | undefined;
  /** Tables of a scaled rotation, where the config has one. */
  readonly rotation?: Rotation | undefined;
  /** False: this layer rotates nothing, whatever the kind. */
  readonly rotates?: boolean;
}

/** What the two ways to an output [B, L, H, D] share; k and v are the cache's whole capacity where there is one. */
export interface Operands {
  readonly config: AttentionConfig;
  readonly names: AttentionNames;
  readonly params: Params;
  readonly x: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly offset: number;
  readonly keyLength: number;
  readonly options: InnerOptions;
}
