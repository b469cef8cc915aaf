// Issue slots of the kernels for sm_90a: the instructions that a warp issues for a key tile that it works on, along the shortest way
// through each loop over tiles that goes by the products and by the exponentials of one kind of tile.

/** Basic blocks: where each begins and ends, and where it goes on. */
export function blocksOf({ instructions, labels, predicated }) {
  const starts = new Set([0, ...labels.values()]);
  const target = (text) => labels.get(/`\((\.L_x_\d+)\)/.exec(text)?.[1] ?? '');
  const jumps = (text) => /^BRA\b/.test(text);
  instructions.forEach((text, i) => {
    if (jumps(text) || /^EXIT\b/.test(text)) starts.add(i + 1);
  });
  const sorted = [...starts].filter((start) => start < instructions.length).sort((a, b) => a - b);
  return sorted.map((start, b) => {
    const end = sorted[b + 1] ?? instructions.length;
    const last = instructions[end - 1];
    const always = !predicated[end - 1] && !/^BRA\S*\s+!?U?P\d/.test(last);
    const next = jumps(last) ? [target(last)] : [];
    if (!((jumps(last) || /^EXIT\b/.test(last)) && always)) next.push(end);
    return { start, end, next: next.filter((at) => at !== undefined && at < instructions.length) };
  });
}

/** Fewest instructions from one block through others, in order, to the last. */
export function shortestThrough(blocks, stops) {
  const index = new Map(blocks.map(({ start }, i) => [start, i]));
  const step = (from, to) => {
    const cost = new Map([[from, 0]]);
    const open = [from];
    while (open.length > 0) {
      open.sort((a, b) => cost.get(a) - cost.get(b));
      const at = open.shift();
      const far = cost.get(at) + blocks[at].end - blocks[at].start;
      if (at === to) return cost.get(at);
      for (const start of blocks[at].next) {
        const next = index.get(start);
        if (far >= (cost.get(next) ?? Number.POSITIVE_INFINITY)) continue;
        cost.set(next, far);
        open.push(next);
      }
    }
    return Number.POSITIVE_INFINITY;
  };
  let sum = 0;
  for (let i = 1; i < stops.length; i += 1) sum += step(stops[i - 1], stops[i]);
  const last = blocks[stops.at(-1)];
  return sum + last.end - last.start;
}

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
