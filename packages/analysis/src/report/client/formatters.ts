import type { ChartData } from '../charts/chart.ts';

interface Point {
  readonly value: readonly (number | string)[];
  readonly seriesName?: string;
  readonly marker?: string;
  readonly axisValue?: number | string;
}

type Formatter = (chart: ChartData, args: readonly string[]) => (of: never) => string;

/** What a chart's option names by `call`. */
export const FORMATTERS: Readonly<Record<string, Formatter>> = {
  // Args: name of the x axis, unit of the values.
  axis: (_, [name, unit]) => {
    return (points: readonly Point[]) => {
      // Series without a name of their own only paint a band.
      const named = points.filter(({ seriesName }) => seriesName !== undefined && !seriesName.startsWith('series\0'));
      const rows = named.map(({ marker, seriesName, value }) => {
        const figure = shown(Array.isArray(value) ? value[1] : value);
        return `${marker ?? ''}${escaped(seriesName ?? '')}: <b>${figure}</b>${figure === '–' ? '' : ` ${escaped(unit)}`}`;
      });
      return [`${escaped(name)} ${escaped(String(points[0]?.axisValue ?? ''))}`, ...rows].join('<br>');
    };
  },
  // Arg: what a cell is of.
  cell:
    (_, [what]) =>
    (point: Point) =>
      `layer ${point.value[1]}, head ${point.value[0]}<br>${escaped(what)}: <b>${point.value[2]} %</b>`,
  cellLabel: () => (point: Point) => String(Math.round(Number(point.value[2]))),
  tau: () => (point: Point) => `layer ${point.value[0]}, head ${point.value[2]}<br>τ: <b>${point.value[1]}</b>`,
  map: (chart) => (point: Point) => {
    const tokens = (chart.option.xAxis as { data: string[] }).data;
    const [key, query, , weight] = point.value.map(Number);
    const says = weight === 0 ? 'exactly 0' : String(weight);
    return `query ${query}: “${escaped(tokens[query])}”<br>key ${key}: “${escaped(tokens[key])}”<br>weight: <b>${says}</b>`;
  },
};

function shown(value: unknown): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(4))) : '–';
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
