import { LEARNED_NAMES, type Learned, learned } from '@lazy-attention/core';
import { type AttentionKind, attentionKind, attentionKinds, isAttentionKind, isFused } from '@lazy-attention/nn';

/** Which inputs of attention a fused kind learns: the tensors by which a file tells it. */
export type Learns = Learned<boolean>;

/** What the kind learns; null for a name that is no kind, and for a kind composed of ops, which no file format knows. */
export function learntBy(name: unknown): Learns | null {
  const kind = isAttentionKind(name) ? attentionKind(name) : null;
  if (kind === null || !isFused(kind)) return null;
  return learned((input) => kind.fused[input] === 'learned');
}

/** The kind with RoPE that learns just these; null where there is none. */
export function kindLearning(learns: Learns): AttentionKind | null {
  return attentionKinds().find(({ name, rope }) => rope && learnsAlike(learntBy(name), learns))?.name ?? null;
}

/** Whether a kind learns just these. */
export function learnsAlike(kind: Learns | null, learns: Learns): boolean {
  return kind !== null && LEARNED_NAMES.every((name) => kind[name] === learns[name]);
}

/** Whether it is Llama's attention: softmax with RoPE. */
export function isLlamas(name: AttentionKind): boolean {
  return name === kindLearning(learned(() => false));
}

/** Kinds that a file can say, by key `attention_kind` or by being Llama's. */
export function writtenKinds(): AttentionKind[] {
  return attentionKinds().flatMap(({ name }) => (learntBy(name) === null ? [] : [name]));
}
