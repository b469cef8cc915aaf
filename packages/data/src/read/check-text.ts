import { DataError } from '../errors.ts';

/**
 * The text of a document that came as a string: it must be what UTF-8 text can be.
 * @throws DataError (DATA_NOT_TEXT) for a NUL character, which marks binary data, and for half of a surrogate pair
 */
export function checkText(where: string, text: string): string {
  if (text.includes('\0')) {
    throw new DataError('DATA_NOT_TEXT', `${where}: expected text, found binary data (a NUL character)`);
  }
  const half = /\p{Surrogate}/u.exec(text);
  if (half !== null) {
    const unit = half[0].charCodeAt(0).toString(16);
    throw new DataError(
      'DATA_NOT_TEXT',
      `${where}: \\u${unit} at character ${half.index} is half of a surrogate pair, which UTF-8 cannot express`,
    );
  }
  return text;
}
