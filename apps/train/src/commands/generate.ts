import { createBackend } from '@lazy-attention/core';
import { tokenizerFromJSON } from '@lazy-attention/data';
import type { OnnxProvider } from '@lazy-attention/onnx';
import { UsageError } from '../errors.ts';
import { openRun, type RunFolder } from '../run/folder.ts';
import { loadTrained } from '../run/load.ts';
import type { RunRecord } from '../run/record.ts';
import { continueText, onBackend } from '../training/sample.ts';
import { onnxFileOf } from './export.ts';

export interface GenerateCommandOptions {
  prompt: string;
  tokens: number;
  temperature: number;
  topK?: number;
  topP?: number;
  seed: number;
  backend?: string;
  runtime: 'native' | 'onnx';
  provider?: OnnxProvider;
  json?: boolean;
}

/** `lazy-attention generate RUN`: the prompt and its continuation on standard output, as it comes. */
export async function generateCommand(run: string, options: GenerateCommandOptions): Promise<void> {
  if (options.runtime === 'onnx' && options.backend !== undefined) {
    throw new UsageError('generate: --backend does not go with --runtime onnx; choose a --provider');
  }
  if (options.runtime !== 'onnx' && options.provider !== undefined) {
    throw new UsageError('generate: --provider goes with --runtime onnx; without it choose a --backend');
  }
  const { folder, record } = openRun(run);
  await (options.runtime === 'onnx' ? generateOnOnnx : generateOnBackend)(folder, record, options);
}

async function generateOnBackend(folder: RunFolder, record: RunRecord, options: GenerateCommandOptions): Promise<void> {
  const backend = await createBackend(options.backend ?? 'auto');
  try {
    const { model, params, tokenizer } = await loadTrained(backend, folder, record);
    await print(continueText(onBackend(backend, model, params), tokenizer, options.prompt, sampling(options)), options);
  } finally {
    await backend.dispose();
  }
}

async function generateOnOnnx(folder: RunFolder, record: RunRecord, options: GenerateCommandOptions): Promise<void> {
  // Loaded only when asked for: the runtime is a large optional peer.
  const { OnnxModel } = await import('@lazy-attention/onnx');
  const model = await OnnxModel.create({ file: await onnxFileOf(folder), provider: options.provider ?? 'cpu' });
  try {
    const tokenizer = tokenizerFromJSON(record.data.tokenizer);
    const pieces = continueText(
      (prompts, how) => model.generate(prompts, how),
      tokenizer,
      options.prompt,
      sampling(options),
    );
    await print(pieces, options);
  } finally {
    await model.dispose();
  }
}

function sampling(options: GenerateCommandOptions) {
  return {
    maxNewTokens: options.tokens,
    temperature: options.temperature,
    seed: options.seed,
    ...(options.topK === undefined ? {} : { topK: options.topK }),
    ...(options.topP === undefined ? {} : { topP: options.topP }),
  };
}

async function print(pieces: AsyncIterable<string>, options: GenerateCommandOptions): Promise<void> {
  let text = '';
  for await (const piece of pieces) {
    // The prompt comes with the first piece: a mistake is found before anything is printed.
    if (!options.json) process.stdout.write(text === '' ? options.prompt + piece : piece);
    text += piece;
  }
  process.stdout.write(options.json ? `${JSON.stringify({ prompt: options.prompt, text })}\n` : '\n');
}
