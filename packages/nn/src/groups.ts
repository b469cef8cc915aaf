/** Neighbours whose sizes sum to at most `most` together, in order; a larger one is a group of its own. */
export function neighbours<T>(items: readonly T[], sizeOf: (item: T) => number, most: number): T[][] {
  const groups: T[][] = [];
  let total = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const size = sizeOf(item);
    if (total + size > most) {
      groups.push([]);
      total = 0;
    }
    groups.at(-1)?.push(item);
    total += size;
  }
  return groups;
}
