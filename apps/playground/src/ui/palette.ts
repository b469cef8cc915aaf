import { MAP_COLORS, mapShade } from '@lazy-attention/analysis';
import { kindOf } from '../state/kinds.ts';
import { theme } from '../state/theme.ts';

/** For a kind that this page does not know. */
const GREY = { light: '#5b6b7b', dark: '#9fb0c0' };
const SURFACE = { light: '#ffffff', dark: '#171a1f' };
const DEEPEST = { light: '#14161a', dark: '#ffffff' };

/** The one accent of a kind. */
export function kindColor(kind: string): string {
  return (kindOf(kind)?.color ?? GREY)[theme()];
}

/** A kind's name for people. */
export function kindLabel(kind: string): string {
  return kindOf(kind)?.label ?? kind;
}

type Rgb = readonly [number, number, number];

function rgb(hex: string): Rgb {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [0, 1, 2].map((i) => Math.round((a[i] as number) * (1 - share) + (b[i] as number) * share)) as unknown as Rgb;
}

/** Colours of a kind's weights, as the report draws them: sand for an exact 0, and from pale to deep by the square root. */
export function weightColor(kind: string): (weight: number) => Rgb {
  const page = theme();
  const accent = rgb(kindColor(kind));
  const zero = rgb(MAP_COLORS[page].zero);
  const pale = mix(rgb(SURFACE[page]), accent, 0.1);
  const deep = mix(accent, rgb(DEEPEST[page]), 0.35);
  return (weight) => {
    if (weight === 0) return zero;
    const shade = mapShade(weight);
    return shade < 0.6 ? mix(pale, accent, shade / 0.6) : mix(accent, deep, (shade - 0.6) / 0.4);
  };
}

/** Shades of a map: more than a screen tells apart. */
const SHADES = 256;
const tables = new Map<string, Uint32Array>();

/** Colours of a kind's weights as pixels of a canvas, by `shadeOf`. Made once for a kind and a theme. */
export function weightPixels(kind: string): Uint32Array {
  const key = `${kind} ${theme()}`;
  const known = tables.get(key);
  if (known !== undefined) return known;
  const color = weightColor(kind);
  const bytes = new Uint8ClampedArray(4 * (SHADES + 1));
  for (let shade = 0; shade <= SHADES; shade++) bytes.set([...color((shade / SHADES) ** 2), 255], 4 * shade);
  const pixels = new Uint32Array(bytes.buffer);
  tables.set(key, pixels);
  return pixels;
}

/** Where a weight's colour stands in `weightPixels`; 0 for exact zeros only. */
export function shadeOf(weight: number): number {
  return weight === 0 ? 0 : Math.max(1, Math.round(SHADES * mapShade(weight)));
}

/** CSS of a colour. */
export function css([r, g, b]: Rgb): string {
  return `rgb(${r} ${g} ${b})`;
}
