import type { Piece } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';
import { describe } from '../schema.ts';
import { checkText } from './check-text.ts';
import { decodeUtf8 } from './utf8.ts';

/** Code units of the longest line: half of what a JavaScript string may have. */
const LONGEST_LINE = 2 ** 28;

/**
 * One document per line, an empty one for null; lines of white space are passed over.
 * @throws DataError (DATA_FORMAT, DATA_NOT_TEXT) with the line number
 */
export async function* jsonlPieces(
  name: string,
  field: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Piece> {
  let number = 0;
  for await (const line of textLines(name, chunks)) {
    number++;
    if (line.trim() !== '') yield { text: textOf(`${name}, line ${number}`, line, field), last: true };
  }
}

/**
 * The lines of a text in UTF-8, whose chunks come from a file or another stream; a byte order mark at its beginning is dropped.
 * @throws DataError (DATA_NOT_TEXT) for other bytes, (DATA_FORMAT) for a line that no string could hold; `name` begins the message
 */
export function textLines(name: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  return linesOf(name, decodeUtf8(name, chunks));
}

/** The lines of a text that comes in pieces. @throws DataError (DATA_FORMAT) for one that no string could hold */
export async function* linesOf(
  name: string,
  texts: AsyncIterable<string>,
  longest = LONGEST_LINE,
): AsyncGenerator<string> {
  // The parts of a line that has not ended: joined once, so that a line of many pieces does not cost its square.
  let parts: string[] = [];
  let length = 0;
  let number = 1;
  for await (const text of texts) {
    let from = 0;
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      parts.push(text.slice(from, to));
      yield parts.join('');
      parts = [];
      length = 0;
      number++;
      from = to + 1;
    }
    parts.push(text.slice(from));
    length += text.length - from;
    if (length > longest) {
      throw new DataError(
        'DATA_FORMAT',
        `${name}, line ${number}: longer than ${longest} characters; JSONL has one document per line`,
      );
    }
  }
  yield parts.join('');
}

function textOf(where: string, line: string, field: string): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    const shown = line.length > 60 ? `${line.slice(0, 60)}...` : line;
    throw new DataError('DATA_FORMAT', `${where}: not JSON (${messageOf(cause)}): ${shown}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const found = Array.isArray(value) ? 'an array' : value === null ? 'null' : `a ${typeof value}`;
    throw new DataError('DATA_FORMAT', `${where}: expected an object with the text field '${field}', found ${found}`);
  }
  if (!Object.hasOwn(value, field)) {
    const fields = Object.keys(value).join(', ') || 'none';
    throw new DataError(
      'DATA_FORMAT',
      `${where}: no field '${field}'; fields there: ${fields}. Name one with the option 'field'`,
    );
  }
  const text = (value as Record<string, unknown>)[field];
  // Like a null in a parquet file: a document without text.
  if (text === null) return '';
  if (typeof text !== 'string') {
    throw new DataError('DATA_FORMAT', `${where}: field '${field}' is ${describe(text)}; expected a string`);
  }
  return checkText(where, text);
}
