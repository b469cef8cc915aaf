/** Attended tiles of one size seen so far, and how many of them held no weight but 0. */
export interface TileTally {
  readonly size: number;
  tiles: number;
  inactive: number;
}

/**
 * Follows the rows of one head of one sequence, in order, through the tiles of one size: tile (a, b) holds the pairs
 * with floor(i / size) = a and floor(j / size) = b, and counts when at least one of them is attended.
 */
export interface TileRow {
  readonly tally: TileTally;
  /** Per tile column, 1 when the current tile row has a weight there. */
  readonly active: Uint8Array;
  index: number;
  firstKey: number;
  lastKey: number;
}

export function tileRow(tally: TileTally, keys: number): TileRow {
  return { tally, active: new Uint8Array(Math.ceil(keys / tally.size)), index: -1, firstKey: 0, lastKey: -1 };
}

/** Row at position `i` that attends `start..i`; its weight on key j is weights[base + j]. */
export function addToTiles(row: TileRow, weights: ArrayLike<number>, base: number, start: number, i: number): void {
  const { size } = row.tally;
  const index = Math.floor(i / size);
  if (index !== row.index) {
    settleTiles(row);
    row.index = index;
    row.firstKey = start;
  }
  row.lastKey = i;
  for (let column = Math.floor(start / size); column <= index; column++) {
    // Only tiles without a weight so far are looked at, so dense attention costs one look per tile.
    if (row.active[column] === 1) continue;
    const end = Math.min(i + 1, (column + 1) * size);
    let j = Math.max(start, column * size);
    while (j < end && weights[base + j] === 0) j++;
    if (j < end) row.active[column] = 1;
  }
}

/** Counts the tile row that ends here. Rows attend start..i with neither going back, so the union has no gap. */
export function settleTiles(row: TileRow): void {
  if (row.index < 0) return;
  const first = Math.floor(row.firstKey / row.tally.size);
  const last = Math.floor(row.lastKey / row.tally.size);
  for (let column = first; column <= last; column++) {
    row.tally.tiles++;
    if (row.active[column] === 0) row.tally.inactive++;
  }
  row.active.fill(0);
  row.index = -1;
}
