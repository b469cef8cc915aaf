import { loadDataset, type Tokenizer, validationBatches } from '@lazy-attention/data';
import type { HostBatch } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { EMBEDDED } from '../training/data.ts';

/** The text that a model is looked at with. */
export interface Text {
  /** For people: the prompt, a path, the embedded book. */
  readonly name: string;
  /** In rows of at most `context` tokens. */
  readonly batches: Iterable<HostBatch & { readonly count: number }>;
}

/** A prompt of one's own, in rows of `context` tokens; the last may be shorter. @throws UsageError for less than two tokens */
export function promptText(prompt: string, tokenizer: Tokenizer, context: number): Text {
  const ids = [...tokenizer.encode(prompt)];
  if (tokenizer.addsBos && tokenizer.bosId !== undefined) ids.unshift(tokenizer.bosId);
  if (ids.length < 2) throw new UsageError(`inspect: the prompt has ${ids.length} tokens; give a text of at least two`);
  const rows: (HostBatch & { count: number })[] = [];
  for (let from = 0; from + 1 < ids.length; from += context) {
    const tokens = Int32Array.from(ids.slice(from, from + context));
    const next = ids.slice(from + 1, from + tokens.length + 1);
    const targets = Int32Array.from(tokens, (_, i) => next[i] ?? -100);
    rows.push({ tokens, targets, starts: null, batch: 1, length: tokens.length, count: next.length });
  }
  return { name: 'the prompt', batches: rows };
}

/** How data is read. */
export interface DataOptions {
  readonly format?: 'text' | 'jsonl' | 'parquet' | 'folder';
  readonly field?: string;
  readonly column?: string;
  /** Rows looked at, evenly spread over the text. */
  readonly windows: number;
}

/** A file or folder of texts, or the embedded book. */
export async function dataText(
  data: string | undefined,
  tokenizer: Tokenizer,
  context: number,
  { windows, ...reading }: DataOptions,
): Promise<Text> {
  const source = data ?? EMBEDDED;
  const { train } = await loadDataset(source, { context, tokenizer, validation: 0, ...reading });
  return { name: source, batches: validationBatches(train, { context, batch: 1, maxWindows: windows }) };
}
