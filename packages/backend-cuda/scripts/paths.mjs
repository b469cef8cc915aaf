// Ways through machine code: basic blocks, loops, and the fewest instructions from one block to another.

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

/** Blocks of each loop, smallest loops first. */
export function loopsOf(blocks) {
  const latches = blocks.flatMap(({ start, next }, latch) =>
    next.filter((at) => at <= start).map((at) => ({ at, latch })),
  );
  return latches
    .map(({ at, latch }) => blocks.map((_, b) => b).filter((b) => blocks[b].start >= at && b <= latch))
    .sort((x, y) => x.length - y.length);
}
