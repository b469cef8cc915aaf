import { type Case, flopsOf, titleOf, tokensOf } from './cases.ts';
import type { Failure, Measurement } from './measure.ts';

export interface CaseResult {
  readonly case: Case;
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
}

export interface Report {
  readonly date: string;
  readonly machine: {
    readonly processor: string;
    readonly cores: number;
    readonly platform: string;
    readonly node: string;
  };
  /** Measured before and after, so that a machine that was busy or hot shows. */
  readonly ceilings: readonly {
    readonly flopsPerSecond: number;
    readonly copyBytesPerSecond: number;
    readonly readBytesPerSecond: number;
  }[];
  readonly peers: readonly { readonly name: string; readonly about?: string; readonly absent?: string }[];
  readonly results: readonly CaseResult[];
}

/** Lines of a Markdown table: per case and peer the median and the first time, the rate, the share of the peak, the ratio to the first. */
export function table(report: Pick<Report, 'results' | 'ceilings'>): string[] {
  const peak = Math.max(...report.ceilings.map((ceiling) => ceiling.flopsPerSecond));
  const lines = [
    '| case | program | median ms | first ms | GFLOP/s | of FMA peak | tokens/s | time against the first |',
    '|---|---|---:|---:|---:|---:|---:|---:|',
  ];
  for (const { case: task, measurements, failures } of report.results) {
    const first = measurements[0]?.median;
    for (const { peer, median, first: cold } of measurements) {
      const rate = flopsOf(task) / (median / 1000);
      const tokens = tokensOf(task) / (median / 1000);
      const cells = [
        titleOf(task),
        peer,
        median.toPrecision(4),
        cold.toPrecision(4),
        (rate / 1e9).toFixed(1),
        Number.isFinite(peak) ? `${((100 * rate) / peak).toFixed(0)} %` : '',
        tokens > 0 ? tokens.toFixed(0) : '',
        (median / first).toFixed(2),
      ];
      lines.push(`| ${cells.join(' | ')} |`);
    }
    for (const { peer, error } of failures) lines.push(`| ${titleOf(task)} | ${peer} | failed: ${error} | | | | | |`);
  }
  return lines;
}
