import type { ChartData } from './charts/chart.ts';

/** A report as a page, and in the pieces that a live page takes over one by one. */
export interface RenderedReport {
  /** The whole page. */
  readonly page: string;
  /** Its `main` element. */
  readonly main: string;
  /** Data of its charts by their id. */
  readonly charts: Readonly<Record<string, ChartData>>;
}

/** What a live page is sent: the pieces that are not as they were. */
export interface ReportChanges {
  /** The `main` element, if it has changed. */
  readonly main?: string;
  /** The charts that have changed or are new. */
  readonly charts: Readonly<Record<string, ChartData>>;
}

/** What changed between two states of a report; null when nothing did. Without an earlier state, everything. */
export function changesBetween(before: RenderedReport | null, after: RenderedReport): ReportChanges | null {
  const charts = Object.fromEntries(
    Object.entries(after.charts).filter(([id, chart]) => {
      const earlier = before !== null && Object.hasOwn(before.charts, id) ? before.charts[id] : undefined;
      return earlier === undefined || JSON.stringify(earlier) !== JSON.stringify(chart);
    }),
  );
  const same = before !== null && before.main === after.main;
  if (same && Object.keys(charts).length === 0) return null;
  return { charts, ...(same ? {} : { main: after.main }) };
}
