import { existsSync, lstatSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { ExportOptions } from '@lazy-attention/onnx';
import { RunError } from '../errors.ts';
import { makeFolder } from '../run/files.ts';
import { checkpointOf, openRun, type RunFolder, runFolder } from '../run/folder.ts';

export interface ExportCommandOptions {
  checkpoint: string;
  out: string;
  attentionLayer?: number;
  maxLength?: number;
  opset?: ExportOptions['opset'];
}

/** `lazy-attention export`: a checkpoint, or the last one of a run, as an ONNX file. An existing file is not overwritten. */
export async function exportCommand(options: ExportCommandOptions): Promise<void> {
  if (isThere(options.out)) {
    throw new RunError(
      'RUN_EXISTS',
      `export: ${options.out} is there already; name another file with --out, or remove it`,
    );
  }
  const isRun = existsSync(runFolder(options.checkpoint).record);
  const checkpoint = isRun ? await checkpointOf(openRun(options.checkpoint).folder) : options.checkpoint;
  await writeOnnx(checkpoint, options.out, options);
  console.log(`${options.out}: ${basename(checkpoint)} of ${resolve(options.checkpoint)}`);
}

/** The run's last checkpoint as an ONNX file in the run folder, written when it is not there yet. */
export async function onnxFileOf(folder: RunFolder): Promise<string> {
  const checkpoint = await checkpointOf(folder);
  const out = join(folder.path, 'onnx', `${basename(checkpoint)}.onnx`);
  if (lstatSync(dirname(out), { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new RunError('RUN_WRITE', `generate: ${dirname(out)} is a symbolic link; expected a folder of the run's own`);
  }
  if (!isThere(out)) await writeOnnx(checkpoint, out, {});
  return out;
}

/** Links that lead nowhere yet are there, too: the file would be written elsewhere. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

async function writeOnnx(checkpoint: string, out: string, options: Partial<ExportCommandOptions>): Promise<void> {
  const { exportOnnx } = await import('@lazy-attention/onnx');
  makeFolder(dirname(out));
  await exportOnnx({
    checkpoint,
    out,
    ...(options.attentionLayer === undefined ? {} : { attentionLayer: options.attentionLayer }),
    ...(options.maxLength === undefined ? {} : { maxLength: options.maxLength }),
    ...(options.opset === undefined ? {} : { opset: options.opset }),
  });
}
