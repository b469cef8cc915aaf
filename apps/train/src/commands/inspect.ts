import { resolve } from 'node:path';
import { type ReportData, renderReport } from '@lazy-attention/analysis/report';
import { createBackend } from '@lazy-attention/core';
import { attentionKind, disposeParams, lazyTransformer, parameterCount } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { type Inspection, inspectModel, MAP_LENGTH } from '../inspect/measure.ts';
import { describeModel, inspectionText } from '../inspect/table.ts';
import { type DataOptions, dataText, promptText, type Text } from '../inspect/windows.ts';
import { writeWhole } from '../run/files.ts';
import { checkedContext, loadArgument, type ModelArgument, openArgument, tokenizerOf } from '../run/model.ts';
import { evaluationOf } from '../training/evaluate.ts';

/** What `inspect` takes. */
export interface InspectCommandOptions extends DataOptions {
  prompt?: string;
  /** Tokens per row; left out: 512, or the model's context where that is less. */
  context?: number;
  /** Where the report page goes; left out: none is written. */
  out?: string;
  backend: string;
  json?: boolean;
}

const USUAL_CONTEXT = 512;

/** `lazy-attention inspect MODEL [DATA]`: what its attention does, on a text of one's own or the embedded book. */
export async function inspectCommand(
  path: string,
  data: string | undefined,
  options: InspectCommandOptions,
): Promise<void> {
  if (options.prompt !== undefined && data !== undefined) {
    throw new UsageError('inspect: give DATA or --prompt, not both');
  }
  const argument = await openArgument(path);
  const { opened } = argument;
  try {
    const tokenizer = tokenizerOf(opened);
    const context =
      checkedContext('inspect', opened, options.context) ?? Math.min(opened.config.context, USUAL_CONTEXT);
    const text =
      options.prompt === undefined
        ? await dataText(data, tokenizer, context, readingOf(options))
        : promptText(options.prompt, tokenizer, context);
    const backend = await createBackend(options.backend);
    try {
      const { model, params } = await loadArgument(backend, argument);
      const how = argument.run === null ? {} : evaluationOf(argument.run.record);
      const inspected = await inspectModel(backend, lazyTransformer({ ...model.config, context }), params, text, how);
      disposeParams(params);
      await show(argument, text, inspected, options);
    } finally {
      await backend.dispose();
    }
  } finally {
    await opened.close();
  }
}

async function show(
  { opened }: ModelArgument,
  text: Text,
  inspected: Inspection,
  options: InspectCommandOptions,
): Promise<void> {
  if (options.out !== undefined) writeWhole(options.out, renderReport(reportOf(opened, text, inspected)));
  const { path, format, config } = opened;
  const { loss, tokens, attention } = inspected;
  const stored = await opened.storedTypes();
  console.log(
    options.json
      ? JSON.stringify({
          model: path,
          format,
          parameters: parameterCount(config),
          stored,
          config,
          text: text.name,
          tokens,
          loss,
          attention,
        })
      : `${describeModel(opened, stored)}\n${inspectionText(inspected, text.name)}`,
  );
  if (options.out !== undefined && !options.json) console.log(`\n${resolve(options.out)}`);
}

function readingOf({ format, field, column, windows }: InspectCommandOptions): DataOptions {
  return {
    windows,
    ...(format === undefined ? {} : { format }),
    ...(field === undefined ? {} : { field }),
    ...(column === undefined ? {} : { column }),
  };
}

/** The page of `report`, of one model that has no training to show. */
function reportOf(
  { path, config, tokenizer }: ModelArgument['opened'],
  text: Text,
  { loss, attention }: Inspection,
): ReportData {
  const [first] = text.batches;
  const shown = first.tokens.subarray(0, Math.min(MAP_LENGTH, first.length));
  return {
    title: `What attends in ${path}`,
    generatedAt: new Date().toISOString(),
    command: ['lazy-attention', ...process.argv.slice(2)].join(' '),
    environment: [
      ['text', text.name],
      ['loss', `${loss.toFixed(4)} nats per token`],
    ],
    notes: [],
    runs: [
      {
        scenario: path,
        arm: attentionKind(config.attention).label,
        kind: config.attention,
        seed: 0,
        name: path,
        command: '',
        parameters: parameterCount(config),
        steps: 0,
        stepsDone: 0,
        tokensPerStep: 0,
        seconds: 0,
        training: [],
        validation: [],
        final: null, // a loss per byte is not known of rows of tokens
        attention,
        mapTokens: Array.from(shown, (id) => tokenizer?.decode([id]) ?? String(id)),
        sample: null,
      },
    ],
  };
}
