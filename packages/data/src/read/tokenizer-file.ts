import { basename, dirname, join } from 'node:path';
import { checkOptions } from '@lazy-attention/core';
import { DataError, messageOf } from '../errors.ts';
import { type HuggingFaceTokenizerOptions, huggingFaceTokenizer } from '../huggingface-tokenizer.ts';
import { jsonObject, parseAs } from '../schema.ts';
import type { Tokenizer } from '../tokenizer.ts';
import { readJsonFile, statOf } from './file.ts';

/**
 * Loads a `tokenizer.json`, or the one in a folder. `options` are those of {@link huggingFaceTokenizer}; when they have no
 * `config`, a `tokenizer_config.json` beside the file is taken.
 * @throws DataError (TOKENIZER, DATA_MISSING, DATA_UNREADABLE)
 */
export async function loadTokenizer(path: string, options: HuggingFaceTokenizerOptions = {}): Promise<Tokenizer> {
  checkOptions('loadTokenizer', options, ['name', 'config', 'bosToken', 'eosToken', 'padToken']);
  const file = (await statOf(path)).isDirectory() ? join(path, 'tokenizer.json') : path;
  const json = await readJson(file);
  const config =
    options.config === undefined ? await readOptional(join(dirname(file), 'tokenizer_config.json')) : options.config;
  return huggingFaceTokenizer(json, { name: basename(file), ...options, config });
}

async function readOptional(path: string): Promise<object | null> {
  try {
    return await readJson(path);
  } catch (error) {
    if (error instanceof DataError && error.code === 'DATA_MISSING') return null;
    throw error;
  }
}

async function readJson(path: string): Promise<object> {
  const text = await readJsonFile(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError('TOKENIZER', `${path}: not JSON: ${messageOf(cause)}`, { cause });
  }
  return parseAs(jsonObject, value, 'TOKENIZER', path);
}
