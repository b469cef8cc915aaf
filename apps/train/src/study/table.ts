import { spreadOf } from '@lazy-attention/analysis/report';
import { table } from '../output/format.ts';
import type { Figures } from './figures.ts';

/** Mean over seeds, and the sample standard deviation: null for one seed. */
export interface Spread {
  readonly mean: number;
  readonly deviation: number | null;
  readonly seeds: number;
}

/** A table as plain JSON: table.json of a comparison or a study. */
export interface ResultTable {
  /** Of the study, or 'compare'. */
  readonly name: string;
  /** The command line that makes it again. */
  readonly command: string;
  /** ISO date. */
  readonly generatedAt: string;
  /** Preset, steps, batch, context, learning rate, backend, device, Node. */
  readonly settings: Readonly<Record<string, string | number>>;
  /** What the cells of `key` are: ['attention', 'tau']. */
  readonly keys: readonly string[];
  readonly rows: readonly ResultRow[];
}

/** A row: what it is of, and its figures. A figure that no seed has is left out. */
export interface ResultRow {
  readonly key: readonly (string | number)[];
  readonly figures: Readonly<Record<string, Spread>>;
}

/** One measurement, of one seed. */
export interface Measurement {
  readonly key: readonly (string | number)[];
  readonly figures: Figures;
}

/** Measurements of one key together, in the order in which the keys come first. */
export function spreadRows(measurements: readonly Measurement[]): ResultRow[] {
  const groups = new Map<string, Measurement[]>();
  for (const measurement of measurements) {
    const id = JSON.stringify(measurement.key);
    groups.set(id, [...(groups.get(id) ?? []), measurement]);
  }
  return [...groups.values()].map((group) => {
    const names = [...new Set(group.flatMap(({ figures }) => Object.keys(figures)))];
    const figures = names.flatMap((name) => {
      const values = group.map((of) => of.figures[name]).filter((x): x is number => typeof x === 'number');
      if (values.length === 0) return [];
      const { count: seeds, ...spread } = spreadOf(values);
      return [[name, { ...spread, seeds }] as const];
    });
    return { key: group[0].key, figures: Object.fromEntries(figures) };
  });
}

/** The figures that are named, for a terminal. */
export function tableText({ keys, rows }: ResultTable, figures: readonly string[]): string {
  const shown = figures.filter((name) => rows.some((row) => row.figures[name] !== undefined));
  const cell = (figure: Spread | undefined) =>
    figure === undefined
      ? '-'
      : `${short(figure.mean)}${figure.deviation === null ? '' : ` ± ${short(figure.deviation)}`}`;
  return table([
    [...keys, ...shown],
    ...rows.map((row) => [...row.key.map(String), ...shown.map((name) => cell(row.figures[name]))]),
  ]);
}

function short(x: number): string {
  return Math.abs(x) >= 1000 ? x.toFixed(0) : x.toFixed(4);
}
