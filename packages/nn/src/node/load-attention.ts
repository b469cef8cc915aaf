import { stat } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AttentionDefinition, AttentionSpec } from '../attention/definition.ts';
import { defineAttention } from '../attention/registry.ts';
import { ConfigError } from '../errors.ts';

const JAVASCRIPT = ['.js', '.mjs', '.cjs'];
const TYPESCRIPT = ['.ts', '.mts', '.cts'];

/**
 * Defines the attention that a file exports as default: JavaScript, or TypeScript, which jiti reads where Node does not. This runs
 * the file's code, so the path should come from whoever runs the program, never from data.
 *
 * @throws ConfigError, naming the file, when it is missing, cannot be run, or exports no attention
 */
export async function loadAttention(path: string): Promise<AttentionDefinition> {
  const file = resolve(path);
  const extension = extname(file);
  if (![...JAVASCRIPT, ...TYPESCRIPT].includes(extension)) {
    throw new ConfigError(
      `${path}: expected a file of JavaScript or TypeScript (${[...JAVASCRIPT, ...TYPESCRIPT].join(', ')})`,
    );
  }
  const found = await stat(file).catch(() => null);
  if (!found?.isFile()) throw new ConfigError(`${path}: there is no such file; --attention takes a kind or a file`);
  const module = await runFile(path, file, TYPESCRIPT.includes(extension));
  const spec = (module as { default?: unknown }).default;
  if (typeof spec !== 'object' || spec === null) {
    throw new ConfigError(
      `${path}: has no attention as default export; expected export default defineAttention({ name, attend })`,
    );
  }
  try {
    return defineAttention(spec as AttentionSpec);
  } catch (error) {
    throw new ConfigError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function runFile(path: string, file: string, isTypeScript: boolean): Promise<unknown> {
  try {
    const strips = (process.features as { typescript?: string | false }).typescript;
    if (!isTypeScript || strips) return await import(pathToFileURL(file).href);
    const { createJiti } = await import('jiti');
    return await createJiti(import.meta.url).import(file);
  } catch (error) {
    throw new ConfigError(`${path}: cannot be run: ${error instanceof Error ? error.message : String(error)}`);
  }
}
