import { checkOptions, ValueError } from '@lazy-attention/core';

/** Options of `createAttentionMeter`. */
export interface MeterOptions {
  /** Thresholds of the sink rate. Default 0.1, 0.2, 0.3, 0.4, 0.5; 0.3 is the one that papers report. */
  readonly epsilons?: readonly number[];
  /** How many first positions of a document are followed. Default 4. */
  readonly positions?: number;
  /** Tile sizes. Default 16, 32, 64, 128. */
  readonly tiles?: readonly number[];
  /** Bytes of the largest block of weights at a time; one query row of a batch is the least. Default 16 MiB. */
  readonly chunkBytes?: number;
  /** Sequences, and tokens of each, from which effective rank is taken. `null`: `onHidden` is ignored. */
  readonly hidden?: { readonly sequences: number; readonly tokens: number } | null;
  /** Keeps the weights among the first `length` positions of the first sequence. Default `null`: none. */
  readonly maps?: MapOptions | null;
}

/** Which weights are kept one by one. */
export interface MapOptions {
  /** Positions of the first sequence. */
  readonly length: number;
  /** Default: all. */
  readonly layers?: readonly number[];
  /** Default: all. */
  readonly heads?: readonly number[];
}

const DEFAULTS = {
  epsilons: [0.1, 0.2, 0.3, 0.4, 0.5],
  positions: 4,
  tiles: [16, 32, 64, 128],
  chunkBytes: 2 ** 24,
  hidden: { sequences: 4, tokens: 256 },
  maps: null,
} as const satisfies MeterOptions;

/** All options, checked. */
export type Settings = ReturnType<typeof checkSettings>;

/** Fills in defaults. @throws ValueError for a value that makes no sense */
export function checkSettings(options: MeterOptions) {
  checkOptions('createAttentionMeter', options, Object.keys(DEFAULTS));
  const settings = {
    epsilons: options.epsilons ?? DEFAULTS.epsilons,
    positions: options.positions ?? DEFAULTS.positions,
    tiles: options.tiles ?? DEFAULTS.tiles,
    chunkBytes: options.chunkBytes ?? DEFAULTS.chunkBytes,
    hidden: options.hidden === undefined ? DEFAULTS.hidden : options.hidden,
    maps: options.maps ?? DEFAULTS.maps,
  };
  const whole = {
    positions: settings.positions,
    chunkBytes: settings.chunkBytes,
    'maps.length': settings.maps?.length,
  };
  for (const [name, value] of [
    ...Object.entries(whole),
    ...settings.tiles.map((size) => ['tiles', size] as const),
    ...Object.entries(settings.hidden ?? {}).map(([name, value]) => [`hidden.${name}`, value] as const),
  ]) {
    if (value !== undefined && !(Number.isInteger(value) && value > 0)) {
      throw new ValueError(`createAttentionMeter: ${name} is ${value}; expected a positive integer`);
    }
  }
  for (const epsilon of settings.epsilons) {
    if (!(epsilon >= 0)) throw new ValueError(`createAttentionMeter: epsilons holds ${epsilon}; expected 0 or more`);
  }
  return settings;
}
