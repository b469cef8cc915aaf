// Issue slots of the kernels for sm_90a: the instructions that a warp issues for a key tile that it works on, along the shortest way
// through each loop over tiles that goes by the products and by the exponentials of one kind of tile.

import { blocksOf, shortestThrough } from './paths.mjs';

/**
 * Issue slots by kind of tile, for both passes of a kernel.
 *
 * @param {{ instructions: string[], labels: Map<string, number>, predicated: boolean[] }} code
 * @returns {{ pass: number, plain: number, biased: number, border: number }[]}
 */
export function hopperSlots(code) {
  const blocks = blocksOf(code);
  const counts = blocks.map(({ start, end }) => {
    const of = (opcode) => code.instructions.slice(start, end).filter((text) => opcode.test(text)).length;
    return { products: of(/^HGMMA/), across: of(/tnspB/), exponentials: of(/^MUFU\.EX2/) };
  });
  const latches = blocks.flatMap((block, b) =>
    block.next.filter((start) => start <= block.start).map((start) => ({ head: start, latch: b })),
  );
  return [1, 2].map((pass) => {
    const blocksIn = ({ head, latch }) => blocks.map((_, b) => b).filter((b) => blocks[b].start >= head && b <= latch);
    const holds = (within) =>
      within.some((b) => counts[b].products > 0 && counts[b].across === 0) &&
      within.some((b) => counts[b].across > 0) === (pass === 2) &&
      within.filter((b) => counts[b].exponentials >= 16).length === 3;
    // The shortest: what lies behind the kernel's end, for warps that have come apart, jumps back too.
    const [within] = latches
      .map(blocksIn)
      .filter(holds)
      .sort((x, y) => x.length - y.length);
    if (within === undefined) throw new Error(`no loop of pass ${pass} with three kinds of tiles`);
    const [first, latch] = [within[0], within.at(-1)];
    const scores = within.find((b) => counts[b].products > 0 && counts[b].across === 0);
    const values = within.filter((b) => counts[b].across > 0);
    const kinds = within.filter((b) => counts[b].exponentials >= 16);
    const slots = kinds.map((kind) => shortestThrough(blocks, [first, scores, kind, ...values, latch]));
    const [plain, biased, border] = slots.sort((a, b) => a - b);
    return { pass, plain, biased, border };
  });
}
