/**
 * Python's `random.Random(seed).sample`, so that few-shot examples are those that lm-eval draws: MT19937 (Matsumoto and
 * Nishimura, 1998) seeded by an array of one word, and CPython's way of choosing without replacement.
 */
export class PythonRandom {
  readonly #state = new Uint32Array(624);
  #at = 624;

  /** `seed` is an integer from 0 to 2^32 - 1. */
  constructor(seed: number) {
    const state = this.#state;
    fill(state, 19650218);
    const key = [seed >>> 0];
    let i = 1;
    for (let k = 0; k < 624; k++) {
      const previous = state[i - 1]! ^ (state[i - 1]! >>> 30);
      state[i] = (state[i]! ^ Math.imul(previous, 1664525)) + key[0]!;
      if (++i >= 624) [state[0], i] = [state[623]!, 1];
    }
    for (let k = 0; k < 623; k++) {
      const previous = state[i - 1]! ^ (state[i - 1]! >>> 30);
      state[i] = (state[i]! ^ Math.imul(previous, 1566083941)) - i;
      if (++i >= 624) [state[0], i] = [state[623]!, 1];
    }
    state[0] = 0x80000000;
  }

  /** `count` of `items` without replacement, in the order drawn. `count` is at most their number. */
  sample<T>(items: readonly T[], count: number): T[] {
    const { length } = items;
    const setSize = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 0);
    if (length <= setSize) {
      const pool = [...items];
      return Array.from({ length: count }, (_, i) => {
        const at = this.#below(length - i);
        const drawn = pool[at] as T;
        pool[at] = pool[length - i - 1] as T;
        return drawn;
      });
    }
    const taken = new Set<number>();
    return Array.from({ length: count }, () => {
      let at = this.#below(length);
      while (taken.has(at)) at = this.#below(length);
      taken.add(at);
      return items[at] as T;
    });
  }

  /** A uniform integer from 0 to `end` - 1. */
  #below(end: number): number {
    const bits = 32 - Math.clz32(end);
    for (;;) {
      const value = this.#word() >>> (32 - bits);
      if (value < end) return value;
    }
  }

  #word(): number {
    if (this.#at >= 624) this.#twist();
    let y = this.#state[this.#at++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #twist(): void {
    const state = this.#state;
    for (let i = 0; i < 624; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % 624]! & 0x7fffffff);
      state[i] = state[(i + 397) % 624]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.#at = 0;
  }
}

function fill(state: Uint32Array, seed: number): void {
  state[0] = seed;
  for (let i = 1; i < 624; i++) {
    const previous = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(previous, 1812433253) + i;
  }
}
