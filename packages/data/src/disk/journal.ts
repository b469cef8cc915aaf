import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { DataError } from '../errors.ts';
import type { BuilderState } from '../store-builder.ts';
import type { ShardFacts } from './files.ts';
import { writeWhole } from './files.ts';
import { damaged, FILES, JOURNAL_FORMAT, sha256 } from './format.ts';
import { readRegular } from './regular.ts';

/** progress.json: how far a store has come. Everything behind it in the other files is written again. */
export interface Journal {
  /** Of the source and the tokeniser: the same ones go on. */
  readonly origin: string;
  /** The part that is read, how many groups of it are done, and the chain of digests over their text. */
  readonly part: number;
  readonly groups: number;
  readonly chain: string;
  readonly builder: BuilderState;
  readonly shards: readonly ShardFacts[];
  readonly marks: number;
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const integers = v.array(v.pipe(v.number(), v.integer()));
const schema = v.object({
  format: v.literal(JOURNAL_FORMAT),
  origin: v.string(),
  part: count,
  groups: count,
  chain: v.string(),
  builder: v.object({
    ...{ tokens: count, bytes: count, documents: count, skipped: count, whole: integers, hash: integers },
    begun: v.object({ tokens: count, bytes: count, ids: integers, marks: v.array(v.tuple([count, count])) }),
  }),
  shards: v.array(v.object({ bytes: count, sha256: v.string() })),
  marks: count,
  sha256: v.string(),
});

export function writeJournal(folder: string, journal: Journal): void {
  const body = { format: JOURNAL_FORMAT, ...journal };
  writeWhole(join(folder, FILES.journal), JSON.stringify({ ...body, sha256: sha256(JSON.stringify(body)) }));
}

/**
 * The journal of a store that was begun for this origin; null for a new or empty folder.
 * @throws DataError (STORE_EXISTS) for a folder that holds anything else, (STORE_DAMAGED)
 */
export function readJournal(folder: string, origin: string): Journal | null {
  const path = join(folder, FILES.journal);
  if (!existsSync(path)) {
    if (!existsSync(folder) || readdirSync(folder).every(isOwn)) return null;
    throw new DataError('STORE_EXISTS', `${folder}: is not empty and holds no store; name another folder`);
  }
  let value: unknown;
  try {
    value = JSON.parse(readRegular(path).toString('utf8'));
  } catch (cause) {
    throw damaged(path, 'is not JSON', cause);
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  const { sha256: told, ...body } = (value ?? {}) as Record<string, unknown>;
  if (!result.success || told !== sha256(JSON.stringify(body))) throw damaged(path, 'is not as it was written');
  if (result.output.origin === origin) return result.output;
  throw new DataError(
    'STORE_EXISTS',
    `${folder}: was begun for other data, options or another tokeniser (or the data has changed since); name another folder, or remove this one`,
  );
}

/** What a kill can leave before the first journal: nothing of worth. */
function isOwn(name: string): boolean {
  return /^(tokens-\d{5,}\.bin|documents\.bin|marks\.bin|tokenizer-used\.json(\..*\.tmp)?|progress\.json\..*\.tmp|run\.lock)$/.test(
    name,
  );
}
