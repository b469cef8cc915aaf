// Issue slots of backward attention by mma.sync, along the branches of the machine code for sm_90a: of a piece of 16 keys and 16
// queries that some row attends, of the loop that takes dq, of what else a step has, and of its part of dbias.
import { blocksOf, loopsOf, shortestThrough } from './paths.mjs';

const PATTERNS = {
  products: /^HMMA/,
  exponentials: /^MUFU\.EX2/,
  barriers: /^BAR\.SYNC/,
  stores: /^STG\.E\.128/,
  copies: /^LDGSTS/,
};

/** How often each of PATTERNS stands in each block. */
function countsOf(code, blocks) {
  return blocks.map(({ start, end }) => {
    const texts = code.instructions.slice(start, end);
    const counts = Object.entries(PATTERNS).map(([name, pattern]) => [
      name,
      texts.filter((t) => pattern.test(t)).length,
    ]);
    return Object.fromEntries(counts);
  });
}

/**
 * Issue slots of a warp.
 *
 * @param {{ instructions: string[], labels: Map<string, number>, predicated: boolean[] }} code
 * @param {{ step: number, keys: number }} shape queries of a step and keys of a block
 * @returns {{ piece: { plain: number, biased: number }, step: { plain: number, biased: number }, diagonals: number }} piece: of 16
 *   queries and the warp's 16 keys; step: all pieces, dq and what else a step in the middle of the keys has; diagonals: what dbias
 *   adds to a step, to those warps that sum blocks
 */
export function gradSlots(code, { step, keys }) {
  const blocks = blocksOf(code);
  const counts = countsOf(code, blocks);
  const loops = loopsOf(blocks);
  const sum = (within, name) => within.reduce((total, b) => total + counts[b][name], 0);
  const isKind = (b) => counts[b].exponentials >= 8;
  const pieces = loops.find((within) => within.filter(isKind).length === 2 && sum(within, 'products') >= 32);
  if (pieces === undefined) throw new Error('no loop over pieces with two kinds of tiles');
  const queries = loops.find((within) => sum(within, 'products') >= 8 && within[0] > pieces.at(-1));
  const steps = loops.find((within) => within.includes(pieces[0]) && within.includes(queries?.[0] ?? -1));
  if (queries === undefined || steps === undefined) throw new Error('no loop over steps that takes dq');

  const through = (...stops) => {
    const sorted = [...new Set(stops.flat(Number.POSITIVE_INFINITY))].sort((a, b) => a - b);
    return shortestThrough(blocks, sorted);
  };
  const having = (within, name, atLeast = 1) => within.filter((b) => counts[b][name] >= atLeast);
  const [first, last] = [steps[0], steps.at(-1)];
  const inPiece = [pieces[0], having(pieces, 'products'), pieces.at(-1)].flat();
  const [plain, biased] = pieces
    .filter(isKind)
    .map((kind) => through(inPiece, kind))
    .sort((a, b) => a - b);
  const loop = through(queries[0], having(queries, 'products'), queries.at(-1));
  // A step that fetches the next and adds to sums that are there.
  const kind = pieces.find(isKind);
  const stores = having(steps, 'stores', 4);
  const whole = through(first, having(steps, 'copies', 2), inPiece, kind, queries, stores, last);
  const rest = whole - through(inPiece, kind) - loop;
  const total = (piece) => (step / 16) * piece + (keys / 32) * loop + rest;
  // Behind dq's stores, dbias: a loop over 8 queries each, before a barrier.
  const stored = stores.at(-1);
  const blocksLoop = loops.find((within) => within[0] > stored && within.at(-1) < last);
  if (blocksLoop === undefined) throw new Error('no loop over the blocks of dbias');
  const barriers = having(steps, 'barriers').filter((b) => b > stored);
  const once = through(stored, blocksLoop, barriers, last) - through(stored, last);
  const diagonals = once + (step / 8 - 1) * through(blocksLoop);
  return { piece: { plain, biased }, step: { plain: total(plain), biased: total(biased) }, diagonals };
}
