import { type AttentionKind, attentionKind, attentionKinds, isAttentionKind, isFused } from '@lazy-attention/nn';

/** What a fused kind learns beside its projections: the tensors by which a file tells it. */
export interface Learns {
  /** A bias by head and distance. */
  readonly bias: boolean;
  /** An offset by head. */
  readonly tau: boolean;
}

/** What the kind learns; null for a name that is no kind, and for a kind composed of ops, which no file format knows. */
export function learntBy(name: unknown): Learns | null {
  const kind = isAttentionKind(name) ? attentionKind(name) : null;
  if (kind === null || !isFused(kind)) return null;
  return { bias: kind.fused.bias === 'learned', tau: kind.fused.tau === 'learned' };
}

/** The kind with RoPE that learns just these. */
export function kindLearning({ bias, tau }: Learns): AttentionKind {
  const found = attentionKinds().find(({ name, rope }) => {
    const learns = learntBy(name);
    return rope && learns?.bias === bias && learns.tau === tau;
  });
  if (found === undefined) throw new Error(`no kind of attention learns bias: ${bias}, tau: ${tau}`);
  return found.name;
}

/** Whether it is Llama's attention: softmax with RoPE. */
export function isLlamas(name: AttentionKind): boolean {
  return name === kindLearning({ bias: false, tau: false });
}

/** Kinds that a file can say, by key `attention_kind` or by being Llama's. */
export function writtenKinds(): AttentionKind[] {
  return attentionKinds().flatMap(({ name }) => (learntBy(name) === null ? [] : [name]));
}
