// Issue slots of backward attention by wgmma: of a warp that takes dk and dv, for a piece of 64 keys and 32 queries and for a step
// of 64 queries, and of a warp that takes dq, for a step and its part of dbias.
import { blocksOf, loopsOf, shortestThrough } from './paths.mjs';

const PATTERNS = {
  products: /^HGMMA/,
  // ds . k: both operands from shared memory, across.
  queries: /^HGMMA.*tnspA/,
  exponentials: /^MUFU\.EX2/,
  pairs: /^STS/,
  barriers: /^BAR\.SYNC/,
  loads: /^LD(G|\.E)/,
  stores: /^ST(G|\.E)/,
  adds: /^FADD/,
};

/**
 * @param {{ instructions: string[], labels: Map<string, number>, predicated: boolean[] }} code
 * @param {{ step: number, piece: number }} shape queries of a step, and of a piece
 * @returns {{ piece: { plain: number, biased: number, border: number }, step: { plain: number, biased: number, border: number },
 *   queries: number, diagonals: number }} diagonals: what dbias adds to `queries`, to a warp with two diagonals a thread
 */
export function hopperGradSlots(code, { step, piece }) {
  const blocks = blocksOf(code);
  const loops = loopsOf(blocks);
  const counts = blocks.map(({ start, end }) => {
    const texts = code.instructions.slice(start, end);
    const entries = Object.entries(PATTERNS);
    return Object.fromEntries(entries.map(([name, of]) => [name, texts.filter((text) => of.test(text)).length]));
  });
  const having = (within, name, least = 1) => within.filter((b) => counts[b][name] >= least);
  const through = (...stops) =>
    shortestThrough(
      blocks,
      [...new Set(stops.flat())].sort((a, b) => a - b),
    );

  // Keys: a loop over pieces, with a way for each kind, within one over steps.
  const pieces = loops.find((within) => having(within, 'exponentials', piece / 2).length === 3);
  const steps = loops.find((within) => within.length > (pieces?.length ?? 0) && within.includes(pieces?.[0] ?? -1));
  if (pieces === undefined || steps === undefined) throw new Error('no loop over steps of pieces of three kinds');
  const kinds = having(pieces, 'exponentials', piece / 2);
  const ofPiece = (kind) =>
    [pieces[0], having(pieces, 'products'), kind, having(pieces, 'pairs', piece / 4), pieces.at(-1)].flat();
  const piecesOf = kinds.map((kind) => through(ofPiece(kind))).sort((a, b) => a - b);
  const rest = through(steps[0], ofPiece(kinds[0]), steps.at(-1)) - through(ofPiece(kinds[0]));
  const named = ([plain, biased, border]) => ({ plain, biased, border });

  // Queries: a loop over steps, with a loop over blocks of pairs between two barriers where dbias is asked for.
  const queries = loops.find((within) => having(within, 'queries').length > 0);
  if (queries === undefined) throw new Error('no loop over steps that takes dq');
  const products = having(queries, 'queries');
  // Eight parts of dq's sums are loaded before the products, or behind dbias, added to and stored.
  const loads = having(queries, 'loads', 8);
  const early = loads.filter((b) => b < products[0]);
  const late = loads.filter((b) => b > products.at(-1));
  const stores = [...having(queries, 'adds', 32).filter((b) => b > products.at(-1)), ...having(queries, 'stores', 8)];
  const plain = through(queries[0], early, products, stores, queries.at(-1));
  const barriers = having(queries, 'barriers');
  const within = loops.filter(
    (loop) => queries.includes(loop[0]) && loop.length < queries.length && loop[0] > products[0],
  );
  const blocksLoop = within.find((loop) => loop[0] > barriers[0] && loop[0] <= barriers.at(-1));
  const diagonalsLoop = within.find((loop) => loop[0] > barriers.at(-1) && having(loop, 'stores').length > 0);
  if (blocksLoop === undefined || diagonalsLoop === undefined) throw new Error('no loops of dbias');
  const oneDiagonal = [diagonalsLoop[0], having(diagonalsLoop, 'stores'), diagonalsLoop.at(-1)].flat();
  const near = through(queries[0], products, barriers, blocksLoop, oneDiagonal, late, stores, queries.at(-1));
  return {
    piece: named(piecesOf),
    step: named(piecesOf.map((slots) => rest + (step / piece) * slots)),
    queries: plain,
    diagonals: near - plain + (step / 8 - 1) * through(blocksLoop) + through(oneDiagonal),
  };
}
