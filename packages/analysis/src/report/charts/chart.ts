import type { Arm } from '../aggregate.ts';
import { kindVariable, shownKind } from '../kinds.ts';

/** An ECharts option as JSON. What `css` and `call` make is filled in by the page. */
export type Option = Readonly<Record<string, unknown>>;

/** A colour of the page's style. An object, so that no text of a run, such as a token, is taken for one. */
export interface Css {
  readonly $css: string;
}

/** A function of the page, where JSON can hold none. */
export interface Call {
  readonly $call: string;
  readonly args: readonly string[];
}

/** The colour that a CSS variable holds: css('--ink'). */
export function css(variable: string): Css {
  return { $css: variable };
}

/** The page's formatter of that name. */
export function call(name: string, ...args: readonly string[]): Call {
  return { $call: name, args };
}

/** The page's font. */
const FONT: Css = css('font-family');

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
  /** Where the zoom begins that leaves out the fall of a curve, in percent of the x axis. */
  readonly zoomFrom?: number;
}

/** What the page needs of a chart. */
export type ChartData = Pick<Chart, 'option' | 'table'>;

/** A section of charts: what the question is, and how to read the answer. */
export interface ChartGroup {
  readonly id: string;
  readonly title: string;
  readonly reading: string;
  readonly charts: readonly Chart[];
  /** Narrow charts stand side by side; maps need room for their cells. */
  readonly columns: 'half' | 'small' | 'map';
  /** Folded away at first: what most readers do not look for. */
  readonly folded?: true;
  /** Charts whose id is under the chosen key are shown, the others hidden. */
  readonly choice?: { readonly label: string; readonly options: readonly Choice[] };
}

export interface Choice {
  readonly label: string;
  readonly charts: readonly string[];
}

/** Colour and symbol of an arm, the same in every chart; a second arm of one kind is dashed. */
export function armStyle(arm: Arm, arms: readonly Arm[]): { color: Css; symbol: string; dash: 'solid' | 'dashed' } {
  const first = arms.find((other) => other.kind === arm.kind);
  return {
    color: css(kindVariable(arm.kind)),
    symbol: shownKind(arm.kind).symbol,
    dash: first === arm ? 'solid' : 'dashed',
  };
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

const TEXT = { color: css('--ink-soft'), fontSize: 12 };

export function axis(name: string, more: Option = {}): Option {
  return {
    name,
    nameLocation: 'middle',
    nameGap: 28,
    nameTextStyle: TEXT,
    axisLabel: { ...TEXT, hideOverlap: true },
    axisLine: { lineStyle: { color: css('--line') } },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: css('--line') } },
    ...more,
  };
}

/** What all charts with x and y axes share. `tooltip` names what is on the x axis, and the unit of the values. */
export function frame(more: Option, tooltip: readonly [x: string, unit: string] = ['', '']): Option {
  return {
    animation: false,
    textStyle: { fontFamily: FONT },
    grid: { left: 56, right: 16, top: 40, bottom: 44 },
    legend: {
      type: 'scroll',
      top: 0,
      left: 0,
      right: 0,
      icon: 'circle',
      itemHeight: 10,
      textStyle: { color: css('--ink'), fontSize: 12 },
      pageTextStyle: TEXT,
      pageIconColor: css('--ink'),
      pageIconInactiveColor: css('--line'),
    },
    tooltip: { trigger: 'axis', confine: true, ...TOOLTIP, formatter: call('axis', ...tooltip) },
    ...more,
  };
}

export const TOOLTIP: Option = {
  backgroundColor: css('--surface'),
  borderColor: css('--line'),
  textStyle: { color: css('--ink'), fontSize: 12 },
};
