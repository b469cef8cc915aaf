import { type AttentionKind, attentionKind, attentionKinds, isAttentionKind, isFused } from '@lazy-attention/nn';

/** What a fused kind learns beside its projections: the tensors by which a file tells it. */
export interface Learns {
  /** A bias by head and distance. */
  readonly bias: boolean;
  /** An offset by head. */
  readonly tau: boolean;
  /** The logit by head of a key that is not there. */
  readonly sink: boolean;
}

/** What the kind learns; null for a name that is no kind, and for a kind composed of ops, which no file format knows. */
export function learntBy(name: unknown): Learns | null {
  const kind = isAttentionKind(name) ? attentionKind(name) : null;
  if (kind === null || !isFused(kind)) return null;
  const { bias, tau, sink } = kind.fused;
  return { bias: bias === 'learned', tau: tau === 'learned', sink: sink === 'learned' };
}

/** The kind with RoPE that learns just these; null where there is none. */
export function kindLearning({ bias, tau, sink }: Learns): AttentionKind | null {
  const found = attentionKinds().find(({ name, rope }) => {
    const learns = learntBy(name);
    return rope && learns?.bias === bias && learns.tau === tau && learns.sink === sink;
  });
  return found?.name ?? null;
}

/** Whether it is Llama's attention: softmax with RoPE. */
export function isLlamas(name: AttentionKind): boolean {
  return name === kindLearning({ bias: false, tau: false, sink: false });
}

/** Kinds that a file can say, by key `attention_kind` or by being Llama's. */
export function writtenKinds(): AttentionKind[] {
  return attentionKinds().flatMap(({ name }) => (learntBy(name) === null ? [] : [name]));
}
