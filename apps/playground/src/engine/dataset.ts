import {
  byteTokenizer,
  type LetterPairs,
  splitStore,
  type Tokenizer,
  type TokenSplit,
  taskDataset,
  textCorpus,
  tokenizeCorpus,
} from '@lazy-attention/data/browser';
import type { Settings } from './settings.ts';

/** What a training reads and is measured on. */
export interface TrainingData {
  readonly tokenizer: Tokenizer;
  readonly train: TokenSplit;
  readonly validation: TokenSplit;
}

/** Where the page's own data come from. */
export interface DataFiles {
  /** How often letters follow one another in Moby Dick. */
  pairs(): Promise<LetterPairs>;
  /** Moby Dick. */
  book(): Promise<string>;
}

/** The data of a training; everything is a function of the settings. @throws Error for a text that is too short */
export async function trainingData(settings: Settings, files: DataFiles): Promise<TrainingData> {
  const { context } = settings;
  if (settings.task === 'bigram-backcopy') {
    const data = await taskDataset('bigram-backcopy', await files.pairs(), { context });
    return { tokenizer: data.tokenizer, train: data.train, validation: data.validation ?? data.train };
  }
  const text = settings.task === 'book' ? await files.book() : settings.text;
  const tokenizer = byteTokenizer();
  const [bytes, least] = [new TextEncoder().encode(text).length, Math.max(100, 4 * context)];
  if (bytes < least) {
    throw new Error(
      `The text is too short to learn from: ${bytes} bytes, where a context of ${context} needs ${least}. Paste more of it, or choose a smaller context.`,
    );
  }
  const store = await tokenizeCorpus(textCorpus(settings.task, [text]), tokenizer);
  const { train, validation } = splitStore(store);
  return { tokenizer, train, validation: validation !== null && validation.length >= context ? validation : train };
}
