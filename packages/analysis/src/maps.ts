/** How attention maps are coloured, here and on every page: the flat tint says that a weight is exactly 0. */
export interface MapColors {
  /** Of a weight of exactly 0: sand. */
  readonly zero: string;
  /** From the smallest weight above 0 to a weight of 1. */
  readonly stops: readonly [string, string, string, string];
}

/** Colours on a light and on a dark page, as CSS. */
export const MAP_COLORS: { readonly light: MapColors; readonly dark: MapColors } = {
  light: { zero: '#eee9dc', stops: ['#d8e6f7', '#7fb0e6', '#2a6fc0', '#0a2a5c'] },
  dark: { zero: '#2c2a22', stops: ['#1d3450', '#2c64a3', '#5aa3ee', '#d9ecff'] },
};

/** Place of a weight between the first and the last stop: its square root, so that small weights are seen at all; 0 for exact zeros only. */
export function mapShade(weight: number): number {
  return weight === 0 ? 0 : Math.max(0.001, Math.min(1, Math.sqrt(weight)));
}
