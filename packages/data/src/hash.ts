/**
 * A 128-bit hash of a sequence of 32-bit integers: four lanes of MurmurHash3's 32-bit mixing with different seeds and
 * multipliers. Not for security. It is here, and not node:crypto's, because it has to give the same value in a browser, on
 * either byte order, and whatever the width in which tokens are stored.
 */
export class IntegerHash {
  #a = 0x243f6a88 | 0;
  #b = 0x85a308d3 | 0;
  #c = 0x13198a2e | 0;
  #d = 0x03707344 | 0;
  #count = 0;

  /** `state`: of a hash that this one goes on from. */
  constructor(state?: readonly number[]) {
    if (state === undefined) return;
    [this.#a, this.#b, this.#c, this.#d, this.#count] = state as [number, number, number, number, number];
  }

  /** All of it: five integers. */
  state(): number[] {
    return [this.#a, this.#b, this.#c, this.#d, this.#count];
  }

  /** Takes the low 32 bits of `value`. */
  add(value: number): this {
    return this.addAll([value]);
  }

  addAll(values: ArrayLike<number>): this {
    // In locals: this loop sees every token of a corpus.
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let d = this.#d;
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      a = mix(a, value, 0xcc9e2d51, 0x1b873593);
      b = mix(b, value, 0x239b961b, 0xab0e9789);
      c = mix(c, value, 0x38b34ae5, 0xa1e38b93);
      d = mix(d, value, 0x85ebca6b, 0xc2b2ae35);
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
    this.#count += values.length;
    return this;
  }

  /** A safe integer, all 53 bits. */
  addInteger(value: number): this {
    return this.add(value | 0).add(Math.floor(value / 2 ** 32));
  }

  /** Its UTF-16 code units and its length, so that neighbouring strings cannot run into one another. */
  addText(text: string): this {
    this.add(text.length);
    for (let i = 0; i < text.length; i++) this.add(text.charCodeAt(i));
    return this;
  }

  /** The hash so far, as four signed 32-bit integers. */
  words(): [number, number, number, number] {
    const n = this.#count;
    // Each lane takes in the others before its final avalanche, so that every output bit depends on all four.
    const sum = (this.#a + this.#b + this.#c + this.#d + n) | 0;
    return [avalanche(this.#a ^ sum), avalanche(this.#b + sum), avalanche(this.#c ^ ~sum), avalanche(this.#d - sum)];
  }

  /** The hash so far, 32 hexadecimal digits. */
  hex(): string {
    return this.words()
      .map((word) => (word >>> 0).toString(16).padStart(8, '0'))
      .join('');
  }
}

function mix(lane: number, value: number, first: number, second: number): number {
  let k = Math.imul(value, first);
  k = Math.imul((k << 15) | (k >>> 17), second);
  const h = lane ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

function avalanche(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
