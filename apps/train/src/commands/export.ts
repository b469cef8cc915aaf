import { lstatSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { createBackend } from '@lazy-attention/core';
import type { WriteDType } from '@lazy-attention/models';
import { writeModel } from '@lazy-attention/models/node';
import type { ExportOptions } from '@lazy-attention/onnx';
import { RunError, UsageError } from '../errors.ts';
import { makeFolder } from '../run/files.ts';
import { checkpointAt, type ModelArgument, openArgument } from '../run/model.ts';

export interface ExportCommandOptions {
  /** The older way to name a run or checkpoint. */
  checkpoint?: string;
  format: 'onnx' | 'hf' | 'fla' | 'gguf';
  dtype?: WriteDType;
  out: string;
  attentionLayer?: number;
  maxLength?: number;
  opset?: ExportOptions['opset'];
  json?: boolean;
}

/** `lazy-attention export MODEL`: as an ONNX file, or as a folder of another format. What is there is not overwritten. */
export async function exportCommand(model: string | undefined, options: ExportCommandOptions): Promise<void> {
  const path = model ?? options.checkpoint;
  if (path === undefined || (model !== undefined && options.checkpoint !== undefined)) {
    throw new UsageError('export: name one MODEL, as the argument or with --checkpoint');
  }
  if (options.format === 'onnx') return exportToOnnx(path, options);
  for (const name of ['attentionLayer', 'maxLength', 'opset'] as const) {
    if (options[name] !== undefined) {
      const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      throw new UsageError(`export: --${flag} goes with --format onnx`);
    }
  }
  const { opened } = await openArgument(path);
  try {
    const files = await writeModel(opened, options.out, { format: options.format, dtype: options.dtype });
    say(path, files, files.join('\n'), options);
  } finally {
    await opened.close();
  }
}

async function exportToOnnx(path: string, options: ExportCommandOptions): Promise<void> {
  if (options.dtype !== undefined)
    throw new UsageError('export: --dtype goes with another --format; ONNX files are f32');
  if (isThere(options.out)) {
    throw new RunError(
      'RUN_EXISTS',
      `export: ${options.out} is there already; name another file with --out, or remove it`,
    );
  }
  const { opened, run } = await openArgument(path);
  await opened.close();
  const checkpoint = run?.checkpoint ?? (await checkpointAt(path));
  if (checkpoint === null) {
    await convertToOnnx(path, options);
    say(path, [options.out], `${options.out}: ${resolve(path)}`, options);
    return;
  }
  await writeOnnx(checkpoint, options.out, options);
  say(path, [options.out], `${options.out}: ${basename(checkpoint)} of ${resolve(path)}`, options);
}

/** What was written: `text` for people, with --json all of it for programs. */
function say(model: string, files: readonly string[], text: string, { format, json }: ExportCommandOptions): void {
  console.log(json ? JSON.stringify({ model: resolve(model), format, files }) : text);
}

/** A run's checkpoint as an ONNX file in the run folder, written when it is not there yet. */
export async function onnxFileOf({ folder, checkpoint }: NonNullable<ModelArgument['run']>): Promise<string> {
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

/** A model that is no checkpoint goes through the reference's memory. */
async function convertToOnnx(path: string, options: ExportCommandOptions): Promise<void> {
  if (options.attentionLayer !== undefined) {
    throw new UsageError('export: --attention-layer takes a run or a checkpoint of this project');
  }
  const { exportModel } = await import('@lazy-attention/onnx');
  const { opened } = await openArgument(path);
  const backend = await createBackend('reference');
  try {
    const { model, params } = await opened.load(backend);
    makeFolder(dirname(options.out));
    await exportModel({ config: model.config, params, out: options.out, ...graphOptions(options) });
  } finally {
    await backend.dispose();
    await opened.close();
  }
}

function graphOptions({ maxLength, opset }: Partial<ExportCommandOptions>) {
  return { ...(maxLength === undefined ? {} : { maxLength }), ...(opset === undefined ? {} : { opset }) };
}

async function writeOnnx(checkpoint: string, out: string, options: Partial<ExportCommandOptions>): Promise<void> {
  const { exportOnnx } = await import('@lazy-attention/onnx');
  makeFolder(dirname(out));
  await exportOnnx({
    checkpoint,
    out,
    ...(options.attentionLayer === undefined ? {} : { attentionLayer: options.attentionLayer }),
    ...graphOptions(options),
  });
}
