import {
  groupRuns,
  type ReportData,
  type ReportRun,
  type Spread,
  spread,
  verdicts,
} from '@lazy-attention/analysis/report';
import { percent, table } from '../output/format.ts';

/** The report's headline for a terminal. */
export function reportText(data: ReportData, path: string): string {
  const parts = groupRuns(data.runs).map((scenario) => {
    const rows = scenario.arms.map(({ name, runs }) => {
      const attention = (figure: (of: NonNullable<ReportRun['attention']>['overall']) => number) =>
        spread(runs, (run) => (run.attention === null ? null : figure(run.attention.overall)));
      return [
        name,
        show(
          spread(runs, ({ final }) => final?.loss),
          (x) => x.toFixed(4),
        ),
        show(
          attention((of) => of.sparsity),
          percent,
        ),
        show(
          attention((of) => of.minLayerSparsity),
          percent,
        ),
        show(
          attention((of) => of.firstTokenWeight),
          (x) => x.toFixed(4),
        ),
        show(
          attention((of) => of.sinkRate['0.3']),
          percent,
        ),
      ];
    });
    const head = ['attention', 'validation loss', 'weights zero', 'least layer', 'first-token weight', 'sink rate'];
    const found = verdicts(scenario).map(({ claim, found, met }) => {
      const word = met === null ? 'open' : met ? 'met' : 'NOT met';
      return `${word.padEnd(8)} ${claim}: ${found}`;
    });
    return [scenario.name, table([head, ...rows]), ...found].join('\n');
  });
  const notes = data.notes.map((note) => `note: ${note}`);
  return ['', ...parts, ...notes, `Report: ${path}`].join('\n\n').trim();
}

function show(figure: Spread | null, format: (x: number) => string): string {
  if (figure === null) return '-';
  return figure.deviation === null ? format(figure.mean) : `${format(figure.mean)} ± ${format(figure.deviation)}`;
}
