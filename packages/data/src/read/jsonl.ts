import type { Piece } from '../corpus.ts';
import { DataError, messageOf } from '../errors.ts';
import { fileChunks } from './file.ts';
import { decodeUtf8 } from './utf8.ts';

/** One document per line; lines of white space are passed over. @throws DataError (DATA_FORMAT) with the line number */
export async function* jsonlPieces(path: string, field: string): AsyncGenerator<Piece> {
  let number = 0;
  for await (const line of lines(decodeUtf8(path, fileChunks(path)))) {
    number++;
    if (line.trim() !== '') yield { text: textOf(`${path}, line ${number}`, line, field), last: true };
  }
}

async function* lines(texts: AsyncIterable<string>): AsyncGenerator<string> {
  // The parts of a line that has not ended: joined once, so that a line of many pieces does not cost its square.
  let parts: string[] = [];
  for await (const text of texts) {
    let from = 0;
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      parts.push(text.slice(from, to));
      yield parts.join('');
      parts = [];
      from = to + 1;
    }
    parts.push(text.slice(from));
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
  if (typeof text !== 'string') {
    const found = text === null ? 'null' : `a ${typeof text}`;
    throw new DataError('DATA_FORMAT', `${where}: field '${field}' is ${found}; expected a string`);
  }
  return text;
}
