/** An operand of a strided loop: where it starts, and its step along every axis, in elements. */
export interface Walk {
  /** Place of the first entry. */
  readonly offset: number;
  /** One step per axis of `sizes`; 0 repeats. */
  readonly strides: readonly number[];
}

/**
 * Goes through the runs along the last of `sizes`, in order of a dense output, and calls `visit` with the place of the
 * run in the output and in each operand. `places` is one array, written anew for every run.
 */
export function forEachRun(
  sizes: readonly number[],
  operands: readonly Walk[],
  visit: (at: number, places: readonly number[]) => void,
): void {
  const last = sizes.length - 1;
  const total = sizes.reduce((product, size) => product * size, 1);
  const places = operands.map(({ offset }) => offset);
  const index = new Array<number>(last).fill(0);
  for (let at = 0; at < total; at += sizes[last]) {
    visit(at, places);
    for (let axis = last - 1; axis >= 0; axis--) {
      const wraps = ++index[axis] === sizes[axis];
      for (let o = 0; o < operands.length; o++) {
        const step = operands[o].strides[axis];
        places[o] += wraps ? step - step * sizes[axis] : step;
      }
      if (!wraps) break;
      index[axis] = 0;
    }
  }
}
