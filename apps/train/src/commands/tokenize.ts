import { chooseTokenizer, openCorpus, openTokenStore, type StoreProgress } from '@lazy-attention/data';
import { catchInterrupt } from '../cli/interrupt.ts';
import { count, duration } from '../output/format.ts';
import { checkOut } from '../run/folder.ts';
import { progressText, writeLocked } from '../training/cache.ts';
import { framingOf } from '../training/data.ts';

export interface TokenizeCommandOptions {
  out: string;
  tokenizer?: string;
  /** As of `train`. */
  bos?: string;
  /** As of `train`. */
  eos?: string;
  format?: 'text' | 'jsonl' | 'parquet' | 'folder';
  field?: string;
  column?: string;
  workers?: number;
  json?: boolean;
}

/** Milliseconds between two lines where no terminal shows one that changes. */
const SAY = 10_000;

/** `lazy-attention tokenize DATA --out STORE`; returns the exit code. */
export async function tokenizeCommand(source: string, options: TokenizeCommandOptions): Promise<number> {
  const { out, format, field, column, workers } = options;
  checkOut('tokenize', out);
  const place = { ...(format && { format }), ...(field && { field }), ...(column && { column }) };
  const line = progressLine();
  const interrupt = catchInterrupt(() => line.end());
  const began = performance.now();
  try {
    const corpus = await openCorpus(source, place);
    const tokenizer = await chooseTokenizer(options.tokenizer ?? 'bytes', corpus, framingOf(options));
    const { signal } = interrupt;
    await writeLocked(corpus, tokenizer, out, { onProgress: line.show, signal, ...(workers && { workers }) });
    line.end();
    const { store } = openTokenStore(out);
    const { length, documents, skipped, bytes, vocabSize, fingerprint } = store;
    const seconds = (performance.now() - began) / 1000;
    const result = { store: out, tokens: length, documents, skipped, bytes, vocabSize, fingerprint, seconds };
    console.log(
      options.json
        ? JSON.stringify(result)
        : `${out}: ${count(length)} tokens of ${count(documents)} documents (${count(bytes / 1e6)} MB of text) in ${duration(seconds)}\nGo on with: lazy-attention train ${out}`,
    );
    return 0;
  } catch (error) {
    line.end();
    if (!interrupt.signal.aborted) throw error;
    process.stderr.write(`Stopped. The same command goes on where it was.\n`);
    return interrupt.exitCode();
  } finally {
    interrupt.end();
  }
}

/** Progress on standard error: a line that changes on a terminal, elsewhere one now and then. */
function progressLine(): { show: (progress: StoreProgress) => void; end: () => void } {
  const terminal = process.stderr.isTTY === true;
  let saidAt = performance.now();
  let shown = false;
  return {
    show(progress) {
      const now = performance.now();
      if (!terminal && now - saidAt < SAY) return;
      saidAt = now;
      shown = terminal;
      const text = progressText(progress);
      // A line that wraps could not be taken back; one column stays free.
      const room = (process.stderr.columns || 80) - 1;
      process.stderr.write(terminal ? `\r\u001b[K${text.slice(0, room)}` : `${text}\n`);
    },
    end() {
      if (shown) process.stderr.write('\n');
      shown = false;
    },
  };
}
