import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mutateBytes } from '../mutate/bytes.ts';
import { mutateJson } from '../mutate/json.ts';
import { oneOf, type Random } from '../random.ts';
import { isTyped } from '../typed.ts';
import type { Outcome, Prepared, Target } from './target.ts';

/** A reader of one file, and valid files to spoil. */
export interface FileReader {
  readonly name: string;
  /** Ending of the file's name, with the dot. */
  readonly extension: string;
  /** Whether values of the JSON are replaced, beside bytes. */
  readonly json: boolean;
  valid(folder: string): Promise<readonly Uint8Array[]>;
  read(path: string): Promise<unknown>;
}

/** Writes a spoilt copy of one of the valid files, and reads it. */
export function fileTarget({ name, extension, json, valid, read }: FileReader): Target {
  return {
    name,
    async prepare(folder: string): Promise<Prepared> {
      const originals = await valid(folder);
      const path = join(folder, `input${extension}`);
      for (const original of originals) {
        writeFileSync(path, original);
        await read(path); // what is not spoilt must be readable, or nothing is tested
      }
      return {
        attempt: async (random) => {
          const bytes = spoilt(oneOf(random, originals), json, random);
          rmSync(path, { force: true });
          writeFileSync(path, bytes);
          return attempt(() => read(path));
        },
        close: async () => {},
      };
    },
  };
}

/** A copy with mistakes: in its values where it is JSON, else, and every fourth time, in its bytes. */
export function spoilt(original: Uint8Array, json: boolean, random: Random): Uint8Array {
  if (json && random() < 0.75) {
    const text = mutateJson(new TextDecoder().decode(original), random);
    if (text !== null) return new TextEncoder().encode(text);
  }
  return mutateBytes(original, random);
}

/** Taken, or refused with a typed error. @throws whatever else was thrown */
export async function attempt(run: () => unknown): Promise<Outcome> {
  try {
    await run();
    return { count: 1, accepted: 1 };
  } catch (error) {
    if (!isTyped(error)) throw error;
    return { count: 1, accepted: 0 };
  }
}
