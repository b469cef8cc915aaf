import { checkOptions, ValueError } from '@lazy-attention/core';
import { byteTokenizer } from '../byte-tokenizer.ts';
import type { Corpus } from '../corpus.ts';
import type { Dataset } from '../dataset.ts';
import { requireInteger } from '../errors.ts';
import { IntegerHash } from '../hash.ts';
import { randomStream } from '../random.ts';
import type { TokenSplit } from '../split.ts';
import type { TokenStore } from '../store.ts';
import { type BigramTable, bigramTable, drawAfter, type LetterPairs, letterPairs } from './symbols.ts';

/**
 * Tasks on which attention sinks appear, by name (spec §Bigram-Backcopy):
 * - `bigram-backcopy`: a marker, then letters, each drawn after the one before as in a text; but after a trigger comes the letter before
 *   the trigger, unless that is a trigger too. A head that copies has nothing to do elsewhere.
 * - `moving-marker`: the same with the marker at one of several positions, behind letters, so that a sink has to follow it.
 */
export const TASKS = ['bigram-backcopy', 'moving-marker'] as const;

/** Name of a synthetic task. */
export type TaskName = (typeof TASKS)[number];

/** What `taskDataset` takes. */
export interface TaskOptions {
  /** Tokens per sequence, the marker included; what a model trains on at a time. At least 4. */
  readonly context: number;
  /** Letters after which the one before them is copied. Default 'teo'. */
  readonly triggers?: string | undefined;
  /** Where the marker may stand, counted from 1. Default [1]; for 'moving-marker' [1, 2, 5, 9]. */
  readonly markerPositions?: readonly number[] | undefined;
  /** Sequences to train on before they come again. Default 262,144. */
  readonly sequences?: number | undefined;
  /** Share of as many more that is held out. Default 0.01. */
  readonly validation?: number | undefined;
  /** Other sequences. Default 0. */
  readonly seed?: number | undefined;
}

/** Id of the marker: the separator of the byte tokenizer. */
const MARKER = 256;

/**
 * A task as a dataset: sequences are made when they are read, each from the seed and its number alone. `source` is the text whose
 * letters they imitate, or what `letterPairs` counted in it.
 * @throws ValueError for a wrong option
 */
export async function taskDataset(
  name: TaskName,
  source: Corpus | LetterPairs,
  options: TaskOptions,
): Promise<Dataset> {
  const op = 'taskDataset';
  checkOptions(op, options, ['context', 'triggers', 'markerPositions', 'sequences', 'validation', 'seed']);
  const { context, triggers = 'teo', sequences = 2 ** 18, validation = 0.01, seed = 0 } = options;
  const markerPositions = options.markerPositions ?? (name === 'bigram-backcopy' ? [1] : [1, 2, 5, 9]);
  requireInteger(op, 'context', context, 4, 2 ** 20);
  requireInteger(op, 'sequences', sequences, 1, 2 ** 26);
  requireInteger(op, 'seed', seed, 0);
  if (!/^[a-z]{1,26}$/.test(triggers)) {
    throw new ValueError(`${op}: triggers is '${triggers}'; expected letters from a to z`);
  }
  if (markerPositions.length === 0) throw new ValueError(`${op}: markerPositions is empty; expected at least one`);
  for (const position of markerPositions) requireInteger(op, 'markerPositions', position, 1, context - 2);
  if (!(validation >= 0 && validation < 1)) {
    throw new ValueError(`${op}: validation is ${String(validation)}; expected a share of at least 0 and below 1`);
  }
  const table = bigramTable('counts' in source ? source : await letterPairs(source));
  const held = validation === 0 ? 0 : Math.max(1, Math.round(sequences * validation));
  const make = sequenceMaker(table, { context, triggers, markerPositions, seed });
  const fingerprint = new IntegerHash()
    .addText(`${name} ${triggers} ${markerPositions.join()} ${context} ${sequences} ${held} ${seed}`)
    .addText(table.cumulative.join())
    .hex();
  const store = sequenceStore(make, context, sequences + held, fingerprint);
  const tokenizer = byteTokenizer({ documentSeparator: true });
  return {
    corpus: taskCorpus(name, sequences, (i) => tokenizer.decode(make(i))),
    tokenizer,
    store,
    fingerprint,
    train: sequenceSplit(store, context, 0, sequences),
    validation: held === 0 ? null : sequenceSplit(store, context, sequences, held),
    method: held === 0 ? 'none' : 'documents',
  };
}

interface SequenceOptions {
  readonly context: number;
  readonly triggers: string;
  readonly markerPositions: readonly number[];
  readonly seed: number;
}

/** Gives sequence `index`: [context] ids. */
function sequenceMaker(table: BigramTable, { context, triggers, markerPositions, seed }: SequenceOptions) {
  const isTrigger = Array.from(table.symbols, (byte) => triggers.includes(String.fromCharCode(byte)));
  return (index: number): Int32Array => {
    const random = randomStream(seed, index);
    const marker = markerPositions[Math.floor(random() * markerPositions.length)]! - 1;
    const ids = new Int32Array(context);
    // Letters begin as after an 'a'; the marker is no letter, and nothing before it is copied.
    let [before, last] = [-1, 0];
    for (let i = 0; i < context; i++) {
      if (i === marker) {
        ids[i] = MARKER;
        [before, last] = [-1, 0];
        continue;
      }
      const uniform = random(); // drawn also where a letter is copied, so that triggers alone decide what differs
      const copies = isTrigger[last]! && before >= 0 && !isTrigger[before]!;
      const next = copies ? before : drawAfter(table, last, uniform);
      ids[i] = table.symbols[next]!;
      [before, last] = [i === 0 || i === marker + 1 ? -1 : last, next];
    }
    return ids;
  };
}

function sequenceStore(
  make: (index: number) => Int32Array,
  context: number,
  documents: number,
  fingerprint: string,
): TokenStore {
  let held: Int32Array = new Int32Array(0);
  let heldIndex = -1;
  return {
    length: documents * context,
    documents,
    skipped: 0,
    bytes: documents * (context - 1),
    vocabSize: MARKER + 1,
    fingerprint,
    documentEnds: Float64Array.from({ length: documents }, (_, d) => (d + 1) * context),
    documentHashes: Int32Array.from({ length: 2 * documents }, (_, i) => i),
    read(start, count, out, at) {
      for (let done = 0; done < count; ) {
        const index = Math.floor((start + done) / context);
        if (index !== heldIndex) [held, heldIndex] = [make(index), index];
        const from = start + done - index * context;
        const part = held.subarray(from, Math.min(context, from + count - done));
        out.set(part, at + done);
        done += part.length;
      }
    },
    bytesBefore: (end) => Math.floor(end / context) * (context - 1) + Math.max(0, (end % context) - 1),
  };
}

function sequenceSplit(store: TokenStore, context: number, first: number, count: number): TokenSplit {
  return {
    store,
    length: count * context,
    bytes: count * (context - 1),
    segments: count,
    fingerprint: `${store.fingerprint}-${first}-${count}`,
    rowLength: context,
    segmentStarts: Float64Array.from({ length: count }, (_, s) => (first + s) * context),
    offsets: Float64Array.from({ length: count + 1 }, (_, s) => s * context),
  };
}

function taskCorpus(name: string, sequences: number, text: (index: number) => string): Corpus {
  return {
    name,
    kind: 'memory',
    singleDocument: false,
    async *pieces() {
      for (let i = 0; i < sequences; i++) yield { text: text(i), last: true };
    },
  };
}
