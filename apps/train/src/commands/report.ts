import { dirname, resolve } from 'node:path';
import { type ReportData, renderPicture, renderReport } from '@lazy-attention/analysis/report';
import { openInBrowser } from '../cli/open.ts';
import { collectReport } from '../compare/collect.ts';
import { reportText } from '../compare/text.ts';
import { UsageError } from '../errors.ts';
import { makeFolder, writeWhole } from '../run/files.ts';

export interface ReportOptions {
  out: string;
  title?: string;
  picture?: string;
  backend: string;
  open?: boolean;
  json?: boolean;
}

/** `lazy-attention report RUN...`: one HTML file on runs and comparisons. */
export async function reportCommand(paths: readonly string[], options: ReportOptions): Promise<void> {
  if (new Set(paths.map((path) => resolve(path))).size < paths.length) {
    throw new UsageError('report: the same run is named twice');
  }
  const data = await collectReport(paths, {
    title: options.title ?? 'Lazy Attention, measured',
    command: ['lazy-attention', ...process.argv.slice(2)].join(' '),
    backend: options.backend,
    measure: true,
    onMeasure: (name) => process.stderr.write(`Measuring ${name}\n`),
  });
  writeReport(options.out, data);
  if (options.picture !== undefined) writeFile(options.picture, renderPicture(data));
  console.log(
    options.json ? JSON.stringify({ report: resolve(options.out), notes: data.notes }) : reportText(data, options.out),
  );
  if (options.open) openInBrowser(resolve(options.out));
}

export function writeReport(path: string, data: ReportData): void {
  writeFile(path, renderReport(data));
}

function writeFile(path: string, content: string): void {
  makeFolder(dirname(path));
  writeWhole(path, content);
}
