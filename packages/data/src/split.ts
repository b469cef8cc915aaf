import { checkOptions, ValueError } from '@lazy-attention/core';
import { DataError, requireInteger } from './errors.ts';
import { IntegerHash } from './hash.ts';
import type { TokenStore } from './store.ts';

/** A part of a store: stretches of documents, thought of as packed head to tail into one stream of `length` tokens. */
export interface TokenSplit {
  /** What it is a part of. */
  readonly store: TokenStore;
  /** Tokens in the packed stream. */
  readonly length: number;
  /** UTF-8 bytes of its text, for bits per byte. */
  readonly bytes: number;
  /** Stretches, each within one document and at least two tokens long. */
  readonly segments: number;
  /** Hash of the store and of what was taken from it. */
  readonly fingerprint: string;
  /** Where every segment is one row of so many tokens: rows of that length then always begin where segments do. */
  readonly rowLength?: number;
  /** Where segment s begins in the store. */
  readonly segmentStarts: Float64Array;
  /** Where segment s begins in the packed stream; one more entry holds `length`. */
  readonly offsets: Float64Array;
}

/** What `splitStore` takes. */
export interface SplitOptions {
  /** Share of the tokens that is held out, in [0, 1). Default 0.1. */
  readonly validation?: number;
  /** Chooses other documents. Default 0. Without effect on `method: 'tail'`. */
  readonly seed?: number;
}

/** The two sides of a store. */
export interface StoreSplit {
  /** What is trained on. */
  readonly train: TokenSplit;
  /** null when `validation` is 0. */
  readonly validation: TokenSplit | null;
  /** Whole documents by hash, or the end of the token stream; 'none' when nothing is held out. */
  readonly method: 'documents' | 'tail' | 'none';
}

interface Segment {
  readonly start: number;
  readonly end: number;
}

/**
 * Holds out a share of the tokens. With many documents those with the smallest hash of (content, seed) are taken whole, equal
 * ones together, so that order does not matter and no copy of a held-out document is trained on. Where that cannot give at least half
 * of the share (one document, or a few large ones), the last tokens of the stream are held out instead.
 * @throws DataError (DATA_TOO_SHORT) when either side would be left without a token to predict
 */
export function splitStore(store: TokenStore, options: SplitOptions = {}): StoreSplit {
  checkOptions('splitStore', options, ['validation', 'seed']);
  const { validation = 0.1, seed = 0 } = options;
  if (!(validation >= 0 && validation < 1)) {
    throw new ValueError(`splitStore: validation is ${String(validation)}; expected a share of at least 0 and below 1`);
  }
  requireInteger('splitStore', 'seed', seed, 0);
  const documents = documentSegments(store);
  if (validation === 0) return { train: makeSplit(store, documents), validation: null, method: 'none' };

  const chosen = chooseDocuments(store, documents, validation * store.length, seed);
  if (chosen !== null) {
    return {
      train: makeSplit(
        store,
        documents.filter((_, d) => !chosen.has(d)),
      ),
      validation: makeSplit(
        store,
        documents.filter((_, d) => chosen.has(d)),
      ),
      method: 'documents',
    };
  }
  const cut = tailPosition(documents, store.length, validation);
  const before = documents.flatMap(({ start, end }) => (start < cut ? [{ start, end: Math.min(end, cut) }] : []));
  const after = documents.flatMap(({ start, end }) => (end > cut ? [{ start: Math.max(start, cut), end }] : []));
  if (before.length === 0 || after.length === 0) {
    throw new DataError(
      'DATA_TOO_SHORT',
      `splitStore: ${store.length} tokens are too few to hold out ${validation * 100} % of them; use more text or validation: 0`,
    );
  }
  return { train: makeSplit(store, before), validation: makeSplit(store, after), method: 'tail' };
}

function documentSegments(store: TokenStore): Segment[] {
  return Array.from(store.documentEnds, (end, d) => ({ start: d === 0 ? 0 : store.documentEnds[d - 1]!, end }));
}

/** The documents to hold out, about `wanted` tokens of them and never more; null if that cannot give half of it. */
function chooseDocuments(
  store: TokenStore,
  documents: readonly Segment[],
  wanted: number,
  seed: number,
): Set<number> | null {
  const keys = documents.map((_, d) => {
    const hash = new IntegerHash().addInteger(seed);
    const [high, low] = hash
      .add(store.documentHashes[2 * d]!)
      .add(store.documentHashes[2 * d + 1]!)
      .words();
    return (high >>> 0) * 2 ** 21 + (low >>> 11);
  });
  const order = documents.map((_, d) => d).sort((a, b) => keys[a]! - keys[b]!);
  const chosen = new Set<number>();
  let held = 0;
  for (let from = 0, to = 0; from < order.length; from = to) {
    let size = 0;
    for (; to < order.length && keys[order[to]!] === keys[order[from]!]; to++) {
      const { start, end } = documents[order[to]!]!;
      size += end - start;
    }
    if (held + size <= wanted) {
      for (const d of order.slice(from, to)) chosen.add(d);
      held += size;
    } else if (held >= wanted / 2) {
      // Going on would fill the rest with the shortest documents alone.
      break;
    }
  }
  return held > 0 && held >= wanted / 2 ? chosen : null;
}

/** Where the held-out tail begins, moved to a document's edge where it would leave a single token on one side. */
function tailPosition(documents: readonly Segment[], length: number, validation: number): number {
  const cut = length - Math.round(validation * length);
  const around = documents.find(({ start, end }) => start < cut && cut < end);
  if (around === undefined) return cut;
  if (cut - around.start < 2) return around.start;
  return around.end - cut < 2 ? around.end : cut;
}

function makeSplit(store: TokenStore, segments: readonly Segment[]): TokenSplit {
  const segmentStarts = Float64Array.from(segments, ({ start }) => start);
  const offsets = new Float64Array(segments.length + 1);
  const hash = new IntegerHash().addText(store.fingerprint);
  let bytes = 0;
  for (const [s, { start, end }] of segments.entries()) {
    offsets[s + 1] = offsets[s]! + (end - start);
    hash.addInteger(start).addInteger(end);
    bytes += store.bytesBefore(end) - store.bytesBefore(start);
  }
  return {
    store,
    length: offsets[segments.length]!,
    bytes,
    segments: segments.length,
    fingerprint: hash.hex(),
    segmentStarts,
    offsets,
  };
}
