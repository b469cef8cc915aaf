import type { Arm } from '../aggregate.ts';
import { kindColor, shownKind } from '../kinds.ts';

/** An ECharts option as JSON. Colours 'var(--x)' and formatters 'fn:x' are filled in by the page (client.ts). */
export type Option = Readonly<Record<string, unknown>>;

export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}

export interface Chart {
  /** Unique in the page; also the name of the downloaded file. */
  readonly id: string;
  readonly title: string;
  /** One sentence that a screen reader says in place of the picture. */
  readonly label: string;
  readonly option: Option;
  readonly table: Table;
  /** CSS height; the width is that of the column. */
  readonly height?: string;
}

/** A section of charts: what the question is, and how to read the answer. */
export interface ChartGroup {
  readonly id: string;
  readonly title: string;
  readonly reading: string;
  readonly charts: readonly Chart[];
  /** Narrow charts stand side by side. */
  readonly columns: 'wide' | 'half' | 'small';
  /** Charts whose id is under the chosen key are shown, the others hidden. */
  readonly choice?: { readonly label: string; readonly options: readonly Choice[] };
}

export interface Choice {
  readonly label: string;
  readonly charts: readonly string[];
}

/** Colour and symbol of an arm, the same in every chart; a second arm of one kind is dashed. */
export function armStyle(arm: Arm, arms: readonly Arm[]): { color: string; symbol: string; dash: 'solid' | 'dashed' } {
  const first = arms.find((other) => other.kind === arm.kind);
  return { color: kindColor(arm.kind), symbol: shownKind(arm.kind).symbol, dash: first === arm ? 'solid' : 'dashed' };
}

/** Name for files and anchors. */
export function slug(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}

/** Enough digits for a picture, few enough for a page. */
export function short(value: number, digits = 4): number {
  return Number(value.toPrecision(digits));
}

const TEXT = { color: 'var(--ink-soft)', fontSize: 12 };

export function axis(name: string, more: Option = {}): Option {
  return {
    name,
    nameLocation: 'middle',
    nameGap: 28,
    nameTextStyle: TEXT,
    axisLabel: { ...TEXT, hideOverlap: true },
    axisLine: { lineStyle: { color: 'var(--line)' } },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: 'var(--line)' } },
    ...more,
  };
}

/** What all charts with x and y axes share. */
export function frame(more: Option): Option {
  return {
    animation: false,
    textStyle: { fontFamily: 'inherit' },
    grid: { left: 56, right: 16, top: 40, bottom: 44 },
    legend: {
      type: 'scroll',
      top: 0,
      left: 0,
      right: 0,
      icon: 'circle',
      itemHeight: 10,
      textStyle: { color: 'var(--ink)', fontSize: 12 },
      pageTextStyle: TEXT,
      pageIconColor: 'var(--ink)',
      pageIconInactiveColor: 'var(--line)',
    },
    tooltip: { trigger: 'axis', confine: true, ...TOOLTIP, valueFormatter: 'fn:number' },
    ...more,
  };
}

export const TOOLTIP: Option = {
  backgroundColor: 'var(--surface)',
  borderColor: 'var(--line)',
  textStyle: { color: 'var(--ink)', fontSize: 12 },
};
