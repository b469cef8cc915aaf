import { oneOf, type Random, upTo } from '../random.ts';

/** What a hand or a program could have put in the place of any value. */
const STRANGE: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => '',
  () => [],
  () => ({}),
  () => 0,
  () => -1,
  () => 1.5,
  () => 1e9,
  () => 2 ** 31,
  () => 2 ** 53,
  () => 1e308,
  () => 'NaN',
  () => '../../victim',
  () => '\u0000',
  () => '\ufeff',
  () => 'constructor',
  () => '<img src=x onerror=alert(1)>',
  () => ({ source: '<img src=x onerror=alert(1)>' }),
  () => ({ toString: 1 }),
  () => [[[[]]]],
  () => new Array(100).fill(0),
  () => 'x'.repeat(10_000),
];

type Slot = { readonly holder: Record<string, unknown> | unknown[]; readonly key: string | number };

/** The JSON text with one to three of its values replaced, removed, doubled or moved. Falls back to null for no JSON. */
export function mutateJson(text: string, random: Random): string | null {
  let root: { value: unknown };
  try {
    root = { value: JSON.parse(text) };
  } catch {
    return null;
  }
  for (let left = 1 + upTo(random, 3); left > 0; left--) {
    const slots: Slot[] = [];
    collect(root, slots);
    if (slots.length > 0) change(oneOf(random, slots), oneOf(random, slots), random);
    else root = { value: oneOf(random, STRANGE)() };
  }
  return JSON.stringify(root.value) ?? '';
}

function collect(value: unknown, slots: Slot[]): void {
  if (slots.length > 5000 || typeof value !== 'object' || value === null) return;
  const holder = value as Slot['holder'];
  for (const key of Object.keys(holder)) {
    slots.push({ holder, key });
    collect((holder as Record<string, unknown>)[key], slots);
  }
}

function change(slot: Slot, other: Slot, random: Random): void {
  const holder = slot.holder as Record<string, unknown>;
  const value = holder[slot.key];
  switch (upTo(random, 6)) {
    case 0:
      delete holder[slot.key];
      break;
    case 1:
      if (typeof value === 'number') holder[slot.key] = value * oneOf(random, [-1, 0.5, 2, 1e6, 1e12]);
      else holder[slot.key] = oneOf(random, STRANGE)();
      break;
    case 2:
      holder[`${slot.key}_`] = value;
      break;
    case 3:
      // A value of another place, unless that would make a circle.
      if (typeof (other.holder as Record<string, unknown>)[other.key] !== 'object') {
        holder[slot.key] = (other.holder as Record<string, unknown>)[other.key];
      }
      break;
    default:
      holder[slot.key] = oneOf(random, STRANGE)();
  }
}
