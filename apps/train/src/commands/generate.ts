import { createBackend } from '@lazy-attention/core';
import { storedWeights, type WeightsFormat } from '@lazy-attention/models';
import type { OnnxProvider } from '@lazy-attention/onnx';
import { UsageError } from '../errors.ts';
import { visible } from '../output/format.ts';
import { loadArgument, type ModelArgument, openArgument, tokenizerOf } from '../run/model.ts';
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
  /** Left out: as the file stores them, where the backend can hold them so. */
  weights?: WeightsFormat;
  runtime: 'native' | 'onnx';
  provider?: OnnxProvider;
  json?: boolean;
}

/** `lazy-attention generate MODEL`: the prompt and its continuation on standard output, as it comes. */
export async function generateCommand(path: string, options: GenerateCommandOptions): Promise<void> {
  if (options.runtime === 'onnx' && options.backend !== undefined) {
    throw new UsageError('generate: --backend does not go with --runtime onnx; choose a --provider');
  }
  if (options.runtime !== 'onnx' && options.provider !== undefined) {
    throw new UsageError('generate: --provider goes with --runtime onnx; without it choose a --backend');
  }
  if (options.runtime === 'onnx' && options.weights !== undefined) {
    throw new UsageError('generate: --weights does not go with --runtime onnx; the file has its own');
  }
  const argument = await openArgument(path);
  try {
    await (options.runtime === 'onnx' ? generateOnOnnx : generateOnBackend)(argument, options);
  } finally {
    await argument.opened.close();
  }
}

async function generateOnBackend(argument: ModelArgument, options: GenerateCommandOptions): Promise<void> {
  const backend = await createBackend(options.backend ?? 'auto');
  try {
    const weights = options.weights ?? (await storedWeights(backend, argument.opened));
    const { model, params, tokenizer } = await loadArgument(backend, argument, { weights });
    noteLength(tokenizer.encode(options.prompt).length + options.tokens, model.config.context);
    const pieces = continueText(
      onBackend(backend, model, params),
      tokenizer,
      options.prompt,
      sampling(options),
      beginsWithBos(argument),
    );
    await print(pieces, options);
  } finally {
    await backend.dispose();
  }
}

async function generateOnOnnx(argument: ModelArgument, options: GenerateCommandOptions): Promise<void> {
  if (argument.run === null) {
    throw new UsageError(
      'generate: --runtime onnx takes a run or a checkpoint in it; write another model with export --format onnx first',
    );
  }
  // Loaded only when asked for: the runtime is a large optional peer.
  const { OnnxModel } = await import('@lazy-attention/onnx');
  const model = await OnnxModel.create({
    file: await onnxFileOf(argument.run),
    provider: options.provider ?? 'cpu',
  });
  try {
    const tokenizer = tokenizerOf(argument.opened);
    const pieces = continueText(
      (prompts, how) => model.generate(prompts, how),
      tokenizer,
      options.prompt,
      sampling(options),
      beginsWithBos(argument),
    );
    await print(pieces, options);
  } finally {
    await model.dispose();
  }
}

/** Says that a text may become longer than the model's context, which is allowed. */
function noteLength(length: number, context: number): void {
  if (length <= context) return;
  process.stderr.write(
    `the text may become ${length} tokens long; past the model's context of ${context}, attention sees the last ${context} alone\n`,
  );
}

/** Documents of a run begin with BOS; of another model texts do where its tokenizer says so. */
function beginsWithBos({ run, opened }: ModelArgument): boolean {
  return run !== null || opened.tokenizer?.addsBos === true;
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
  // A file gets the text as it is, a terminal nothing that it would obey.
  const shown = (piece: string) => (process.stdout.isTTY === true ? visible(piece) : piece);
  for await (const piece of pieces) {
    // The prompt comes with the first piece: a mistake is found before anything is printed.
    if (!options.json) process.stdout.write(shown(text === '' ? options.prompt + piece : piece));
    text += piece;
  }
  process.stdout.write(options.json ? `${JSON.stringify({ prompt: options.prompt, text })}\n` : '\n');
}
