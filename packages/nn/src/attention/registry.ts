import { ConfigError } from '../errors.ts';
import type { AttentionKind } from '../model/config.ts';
import { BUILT_IN } from './built-in.ts';
import type { AttentionDefinition, AttentionSpec, ComposedAttention } from './definition.ts';

const NAME = /^[a-z][a-z0-9-]*$/;
const ROLES = ['reference', 'subject', 'ablation', 'baseline'];
/** For kinds that bring no colour. */
const GREY = { light: '#5b6b7b', dark: '#9fb0c0' };
const OWN_NAMES = /^(q|k|v|o)_(proj\.(weight|bias)|norm\.weight)$/;

const registry = new Map<string, AttentionDefinition>(BUILT_IN.map((kind) => [kind.name, kind]));

/** Names of the kinds that come with the package. */
export const ATTENTION_KINDS: readonly string[] = BUILT_IN.map(({ name }) => name);

/** All kinds, those of `defineAttention` last. */
export function attentionKinds(): readonly AttentionDefinition[] {
  return [...registry.values()];
}

/** Whether a kind has this name. */
export function isAttentionKind(name: unknown): name is AttentionKind {
  return typeof name === 'string' && registry.has(name);
}

/** The kind with this name. @throws ConfigError when there is none */
export function attentionKind(name: AttentionKind): AttentionDefinition {
  const kind = registry.get(name);
  if (kind === undefined) {
    throw new ConfigError(
      `attention is ${typeof name === 'string' ? `'${name}'` : String(name)}; expected one of ${[...registry.keys()].join(', ')}; add your own with defineAttention`,
    );
  }
  return kind;
}

/**
 * Adds a kind of attention, which configs then name. Defining a name anew replaces the kind of one's own that had it.
 * Returns the kind with every default filled in.
 *
 * @throws ConfigError for a name that is no name or that of a built-in kind, and for a member of the wrong type
 */
export function defineAttention(spec: AttentionSpec): AttentionDefinition {
  const kind = resolved(spec);
  registry.set(kind.name, kind);
  return kind;
}

function resolved(spec: AttentionSpec): AttentionDefinition {
  if (typeof spec !== 'object' || spec === null) {
    throw new ConfigError(
      `defineAttention: got ${spec === null ? 'null' : typeof spec}; expected an object with name and attend`,
    );
  }
  const { name } = spec;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new ConfigError(
      `defineAttention: name is '${String(name)}'; expected lower-case letters, digits and hyphens, a letter first`,
    );
  }
  if (ATTENTION_KINDS.includes(name)) {
    throw new ConfigError(`defineAttention: '${name}' is a built-in kind; choose another name`);
  }
  const { label = name, description = label, role = 'baseline', comparedByDefault = false } = spec;
  const { color = GREY, symbol = 'pin', rope = true } = spec;
  if (!ROLES.includes(role))
    throw new ConfigError(`defineAttention: role of '${name}' is '${role}'; expected ${ROLES.join(', ')}`);
  if (typeof rope !== 'boolean')
    throw new ConfigError(`defineAttention: rope of '${name}' is ${rope}; expected true or false`);
  const described = { name, label, description, role, comparedByDefault, color, symbol, rope };
  if ('fused' in spec) return { ...described, fused: spec.fused };
  const { attend, params = () => ({}), remembers = () => ({}) } = spec;
  for (const [member, value] of Object.entries({ attend, params, remembers })) {
    if (typeof value !== 'function') {
      throw new ConfigError(`defineAttention: ${member} of '${name}' is ${typeof value}; expected a function`);
    }
  }
  return { ...described, attend, params: checkedParams(name, params), remembers };
}

/** Names of parameters must not be those of the layer's projections. */
function checkedParams(kind: string, params: ComposedAttention['params']): ComposedAttention['params'] {
  return (config) => {
    const own = params(config);
    for (const name of Object.keys(own)) {
      if (OWN_NAMES.test(name))
        throw new ConfigError(`attention '${kind}': params names '${name}', which every layer has`);
    }
    return own;
  };
}
