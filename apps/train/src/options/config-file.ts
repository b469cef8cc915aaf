import * as v from 'valibot';
import { UsageError } from '../errors.ts';
import { textOfFile } from '../run/files.ts';
import { flagOf, OPTION_ROWS } from './rows.ts';
import { flag, text } from './values.ts';

/** Keys of a config file beside those of the options table: the other flags of `train` but --config. */
const OTHERS = {
  data: { help: 'DATA of the command line', value: text },
  out: { help: '--out: folder of the run', value: text },
  backend: { help: '--backend: a backend, or auto', value: text },
  resume: { help: '--resume: go on with the run in out', value: flag },
  store: { help: 'false, --no-store: large data is not tokenised into a store', value: flag },
  open: { help: '--open: a live page of the run in the browser', value: flag },
  plan: { help: '--plan: say what the run would take, and write nothing', value: flag },
  json: { help: '--json: JSON on standard output', value: flag },
} as const;

/** Those of them that `train` alone has. */
export const SINGLE_KEYS: readonly (keyof typeof OTHERS)[] = ['store', 'plan'];

/** What a config file may hold: the options of the table by their names in the program, and the other flags. */
export type ConfigFile = Record<string, unknown>;

/**
 * Reads a recipe: JSON or YAML, one key for each flag (`weightDecay` for `--weight-decay`). What the command line gives goes before it.
 * @throws UsageError for a file that cannot be read, an unknown key (with the nearest one), or a value that the flag would refuse
 */
export async function readConfig(path: string): Promise<ConfigFile> {
  // Most commands read none, and it takes a while to load.
  const { parse } = await import('yaml');
  let found: unknown;
  try {
    found = parse(textOfFile(path));
  } catch (error) {
    throw new UsageError(`--config ${path} cannot be read: ${(error as Error).message}`);
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) {
    throw new UsageError(
      `--config ${path} holds ${JSON.stringify(found)}; expected an object with a key for each option`,
    );
  }
  const { $schema: _, ...values } = found as ConfigFile;
  for (const [key, value] of Object.entries(values)) checkEntry(path, key, value);
  return values;
}

function checkEntry(path: string, key: string, value: unknown): void {
  const row = [...OPTION_ROWS, ...Object.entries(OTHERS)].find(([name]) => name === key);
  if (row === undefined) {
    const near = nearest(key, [...OPTION_ROWS.map(([name]) => name), ...Object.keys(OTHERS)]);
    throw new UsageError(`--config ${path}: unknown key '${key}'; did you mean '${near}'?`);
  }
  const [, option] = row;
  if (!v.is(option.value.schema, value)) {
    throw new UsageError(`--config ${path}: ${key} is ${JSON.stringify(value)}; expected ${option.value.expected}`);
  }
}

/** The name with the fewest letters to change. */
function nearest(key: string, names: readonly string[]): string {
  const plain = (name: string) => name.toLowerCase().replace(/[-_]/g, '');
  return names.reduce((best, name) =>
    distance(plain(key), plain(name)) < distance(plain(key), plain(best)) ? name : best,
  );
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** JSON Schema of a config file, published as config.schema.json. */
export function configSchema(): object {
  const options = OPTION_ROWS.map(([name, option]) => [
    name,
    { description: `${flagOf(option)}: ${option.help}`, ...option.value.json },
  ]);
  const others = Object.entries(OTHERS).map(([name, { help, value }]) => [name, { description: help, ...value.json }]);
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'A recipe of lazy-attention train (--config)',
    type: 'object',
    additionalProperties: false,
    properties: { $schema: { type: 'string' }, ...Object.fromEntries(others), ...Object.fromEntries(options) },
  };
}
