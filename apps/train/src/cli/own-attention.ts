import { loadAttention } from '@lazy-attention/nn/node';
import { UsageError } from '../errors.ts';

/** A path, as opposed to the name of a kind. */
const IS_FILE = /[\\/]|\.[cm]?[jt]s$/;

/**
 * Defines what files on the command line export, and gives the command line with names in their place: `--attention FILE`, also
 * among several kinds, and `--define FILE`, for commands on runs that use such a kind. Files are named here alone, never
 * in a run: reading one runs its code.
 */
export async function withOwnAttention(argv: readonly string[]): Promise<string[]> {
  const result: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const [, flag = argv[i], joined] = /^(--attention|--define)=(.*)$/s.exec(argv[i]) ?? [];
    if (flag !== '--attention' && flag !== '--define') {
      result.push(argv[i]);
      continue;
    }
    const value = joined ?? argv[++i];
    if (flag === '--define') {
      if (value === undefined) throw new UsageError('--define needs a file');
      await loadAttention(value);
    } else if (value !== undefined) {
      result.push(flag, await withNames(value));
    } else {
      result.push(flag);
    }
  }
  return result;
}

async function withNames(value: string): Promise<string> {
  const names: string[] = [];
  for (const part of value.split(',')) names.push(IS_FILE.test(part) ? (await loadAttention(part.trim())).name : part);
  return names.join(',');
}
