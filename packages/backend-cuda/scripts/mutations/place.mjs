/** Comments, strings, words and numbers, and single signs: what C++ is made of, as far as a mutation has to know. */
const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'|[A-Za-z0-9_]+|\S/g;

const isComment = (token) => token.startsWith('//') || token.startsWith('/*');

function tokensOf(text, withComments) {
  const tokens = Array.from(text.matchAll(TOKEN), (match) => ({ text: match[0], at: match.index }));
  return withComments ? tokens : tokens.filter((token) => !isComment(token.text));
}

/** Of a comment its beginning is enough. */
const isSame = (token, wanted) => (isComment(wanted) ? token.startsWith(wanted) : token === wanted);

/**
 * Where the tokens of `wanted` stand in `source`, however either is laid out; comments count where `wanted` has one.
 *
 * @param {string} source
 * @param {string} wanted
 * @param {number | undefined} nth which place, from 0; undefined: there must be one alone
 * @returns {readonly [start: number, end: number]}
 * @throws Error when there is no such place, or more than one where none is chosen
 */
export function placeOf(source, wanted, nth) {
  const pattern = tokensOf(wanted, true);
  const all = tokensOf(
    source,
    pattern.some(({ text }) => isComment(text)),
  );
  const places = [];
  for (let i = 0; i + pattern.length <= all.length; i++) {
    if (!pattern.every(({ text }, j) => isSame(all[i + j].text, text))) continue;
    const last = all[i + pattern.length - 1];
    places.push([all[i].at, last.at + last.text.length]);
  }
  if (places.length <= (nth ?? 0)) throw new Error(`${places.length} places have these tokens: ${wanted}`);
  if (nth === undefined && places.length > 1) {
    throw new Error(`${places.length} places have these tokens, say which by nth: ${wanted}`);
  }
  return places[nth ?? 0];
}
