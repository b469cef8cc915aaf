import {
  changesBetween,
  type RenderedReport,
  type ReportChanges,
  type ReportData,
  renderPieces,
} from '@lazy-attention/analysis/report';

/** A report as it was at some moment. */
export interface Snapshot {
  readonly version: string;
  readonly report: RenderedReport;
}

/** The report of a run as it stands, rendered at most once for each time that it changes. */
export interface LiveState {
  /** Says that there is something new to show. */
  changed(): void;
  /** The report of now. */
  current(): Promise<Snapshot>;
  /** What is new since the snapshot of that version; everything when it is not the one before, null when nothing is. */
  since(version: string): Promise<{ readonly version: string; readonly changes: ReportChanges | null }>;
  /** How often a report was rendered. */
  rendered(): number;
}

/** A state whose report is made of what `collect` gives. */
export function createLiveState(collect: () => Promise<ReportData>): LiveState {
  let version = 0;
  let rendered = 0;
  let before: Snapshot | null = null;
  let latest: { readonly version: string; readonly snapshot: Promise<Snapshot> } | null = null;

  const render = async (wanted: string, earlier: typeof latest): Promise<Snapshot> => {
    rendered++;
    const report = renderPieces(await collect(), wanted);
    before = earlier === null ? null : await earlier.snapshot.catch(() => null);
    return { version: wanted, report };
  };
  const current = () => {
    const wanted = String(version);
    if (latest?.version !== wanted) latest = { version: wanted, snapshot: render(wanted, latest) };
    return latest.snapshot;
  };
  return {
    changed: () => {
      version++;
    },
    current,
    async since(from) {
      const now = await current();
      if (from === now.version) return { version: from, changes: null };
      const earlier = before?.version === from ? before.report : null;
      return { version: now.version, changes: changesBetween(earlier, now.report) };
    },
    rendered: () => rendered,
  };
}
