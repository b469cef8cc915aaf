import type { NativeContext } from './addon.ts';

/** Device memory, as kernels hand it out: opaque. */
export class NativeBuffer {
  /** Its number on the native side (cpp/buffers.h); 0 once it has been freed. */
  id: number;
  /** Watched by the collector, because it lived long. */
  watched = false;

  constructor(id: number) {
    this.id = id;
  }
}

/** Handles made since the collector was last told of survivors. */
const YOUNG = 1024;

export interface NativeBuffers {
  /** A handle for a number that the native side has just given out. */
  hold(id: number): NativeBuffer;
  free(buffer: NativeBuffer): void;
}

/**
 * Handles of device memory. Freeing costs two writes to memory shared with the native side, which looks there at its next call.
 * A handle that is forgotten gives its memory back when it is collected; registering each for that would cost more than most
 * ops, so it is done for those alone that outlive the next thousand.
 */
export function nativeBuffers(context: Pick<NativeContext, 'freed' | 'collect'>): NativeBuffers {
  const { freed } = context;
  const release = (id: number): void => {
    if (freed[0] === freed.length - 1) context.collect();
    freed[++freed[0]] = id;
  };
  const registry = new FinalizationRegistry(release);
  let young: NativeBuffer[] = [];
  return {
    hold(id) {
      if (young.length === YOUNG) {
        for (const buffer of young) {
          if (buffer.id === 0) continue;
          registry.register(buffer, buffer.id, buffer);
          buffer.watched = true;
        }
        young = [];
      }
      const buffer = new NativeBuffer(id);
      young.push(buffer);
      return buffer;
    },
    free(buffer) {
      const { id } = buffer;
      if (id === 0) return;
      buffer.id = 0;
      if (buffer.watched) registry.unregister(buffer);
      release(id);
    },
  };
}
