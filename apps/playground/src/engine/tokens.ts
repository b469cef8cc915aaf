import type { Tokenizer } from '@lazy-attention/data/browser';

/** Spaces and controls that nobody would see, made visible. */
const VISIBLE: Readonly<Record<string, string>> = { ' ': '␣', '\n': '⏎', '\t': '⇥' };

/** A token for people: its text, or what it stands for. */
export function shownToken(tokenizer: Tokenizer | null, id: number): string {
  if (tokenizer === null) return String(id);
  if (id === tokenizer.bosId || id === tokenizer.eosId) return '▸';
  const text = tokenizer.decode([id]);
  if (text === '' || text === '\ufffd') return `‹${id}›`;
  return text.replaceAll(/[ \n\t]/g, (character) => VISIBLE[character] as string);
}
