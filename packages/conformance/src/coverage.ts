import type { Case } from './case.ts';
import type { CaseResult } from './run.ts';

/** Results of one backend, under the name of its column. */
export interface Column {
  readonly name: string;
  readonly results: readonly CaseResult[];
}

/**
 * Op by backend, forward and backward: how many tests passed of how many; '-' where there is nothing to test, 'not offered'
 * where the backend leaves the op out.
 */
export function coverageTable(columns: readonly Column[]): string {
  const ops = [...new Set(columns.flatMap(({ results }) => results.map((result) => result.case.op)))];
  const header = ['op', ...columns.flatMap(({ name }) => [`${name} forward`, 'backward'])];
  const rows = ops.map((op) => [
    op,
    ...columns.flatMap(({ results }) => [cell(results, op, 'forward'), cell(results, op, 'backward')]),
  ]);
  const table = [header, ...rows];
  const widths = header.map((_, i) => Math.max(...table.map((row) => row[i].length)));
  return table
    .map((row) =>
      row
        .map((text, i) => text.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function cell(results: readonly CaseResult[], op: Case['op'], direction: Case['direction']): string {
  const mine = results.filter((result) => result.case.op === op && result.case.direction === direction);
  if (mine.length === 0) return '-';
  const count = (status: CaseResult['status']) => mine.filter((result) => result.status === status).length;
  if (count('not offered') === mine.length) return 'not offered';
  const notes = [
    ...(count('failed') > 0 ? [`${count('failed')} FAILED`] : []),
    ...(count('skipped') > 0 ? [`${count('skipped')} skipped`] : []),
    ...(count('not offered') > 0 ? [`${count('not offered')} not offered`] : []),
  ];
  return `${count('passed')}/${mine.length}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
}
