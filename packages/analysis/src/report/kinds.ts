import {
  type AttentionDescription,
  type AttentionKind,
  type AttentionRole,
  attentionKind,
  attentionKinds,
  isAttentionKind,
} from '@lazy-attention/nn';

/** Baselines first, then what is studied, then its parts. */
const ROLES: readonly AttentionRole[] = ['reference', 'baseline', 'subject', 'ablation'];
/** For a kind that this process does not know: that of a report made elsewhere. */
const UNKNOWN = { role: 'baseline', symbol: 'pin', color: { light: '#5b6b7b', dark: '#9fb0c0' } } as const;

type Shown = Pick<AttentionDescription, 'role' | 'symbol' | 'color'>;

/** How a kind is shown. */
export function shownKind(kind: AttentionKind): Shown {
  return isAttentionKind(kind) ? attentionKind(kind) : UNKNOWN;
}

/** The arm of that role, if there is one. */
export function armOf<A extends { readonly kind: AttentionKind }>(
  arms: readonly A[],
  role: AttentionRole,
): A | undefined {
  return arms.find(({ kind }) => shownKind(kind).role === role);
}

/** Negative where a comes before b in charts and tables. */
export function compareKinds(a: AttentionKind, b: AttentionKind): number {
  const byRole = ROLES.indexOf(shownKind(a).role) - ROLES.indexOf(shownKind(b).role);
  return byRole === 0 ? place(a) - place(b) : byRole;
}

/** CSS variable of a kind's colour. */
export function kindVariable(kind: AttentionKind): string {
  return isAttentionKind(kind) ? `--kind-${kind}` : '--kind';
}

/** Declarations of the colours of all kinds. */
export function kindColors(page: 'light' | 'dark'): string {
  const known = attentionKinds().map(({ name, color }) => `--kind-${name}: ${color[page]};`);
  return [`--kind: ${UNKNOWN.color[page]};`, ...known].join(' ');
}

function place(kind: AttentionKind): number {
  const at = attentionKinds().findIndex(({ name }) => name === kind);
  return at === -1 ? Number.MAX_SAFE_INTEGER : at;
}
