import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { ExportOptions } from '@lazy-attention/onnx';
import { RunError } from '../errors.ts';
import { writeError } from '../run/files.ts';
import { openRun, type RunFolder, runFolder } from '../run/folder.ts';
import { lastCheckpoint } from '../training/session.ts';

export interface ExportCommandOptions {
  checkpoint: string;
  out: string;
  attentionLayer?: number;
  maxLength?: number;
  opset?: ExportOptions['opset'];
}

/** `lazy-attention export`: a checkpoint, or the last one of a run, as an ONNX file. An existing file is not overwritten. */
export async function exportCommand(options: ExportCommandOptions): Promise<void> {
  if (existsSync(options.out)) {
    throw new RunError(
      'RUN_EXISTS',
      `export: ${options.out} is there already; name another file with --out, or remove it`,
    );
  }
  const isRun = existsSync(runFolder(options.checkpoint).record);
  const checkpoint = isRun ? await lastCheckpoint(openRun(options.checkpoint).folder) : options.checkpoint;
  await writeOnnx(checkpoint, options.out, options);
  console.log(`${options.out}: ${basename(checkpoint)} of ${resolve(options.checkpoint)}`);
}

/** The run's last checkpoint as an ONNX file in the run folder, written when it is not there yet. */
export async function onnxFileOf(folder: RunFolder): Promise<string> {
  const checkpoint = await lastCheckpoint(folder);
  const out = join(folder.path, 'onnx', `${basename(checkpoint)}.onnx`);
  if (!existsSync(out)) await writeOnnx(checkpoint, out, {});
  return out;
}

async function writeOnnx(checkpoint: string, out: string, options: Partial<ExportCommandOptions>): Promise<void> {
  const { exportOnnx } = await import('@lazy-attention/onnx');
  try {
    mkdirSync(dirname(resolve(out)), { recursive: true });
  } catch (error) {
    throw writeError(out, error);
  }
  await exportOnnx({
    checkpoint,
    out,
    ...(options.attentionLayer === undefined ? {} : { attentionLayer: options.attentionLayer }),
    ...(options.maxLength === undefined ? {} : { maxLength: options.maxLength }),
    ...(options.opset === undefined ? {} : { opset: options.opset }),
  });
}
