/** Milliseconds of tokens to draw at once: readers see them come one after the other, and launching costs next to nothing. */
const FRAME = 25;
/** A clock that stands still must not make it all of them. */
const MOST = 64;

/** Says how many tokens to ask for, one at first, from how long the last ones took. */
export function pace(): { steps(most: number): number; took(milliseconds: number, steps: number): void } {
  let fitting = 1;
  return {
    steps: (most) => Math.min(fitting, most),
    took(milliseconds, steps) {
      fitting = Math.min(MOST, Math.max(1, Math.floor((FRAME * steps) / milliseconds)));
    },
  };
}
