const STEPS: readonly (readonly [string | RegExp, string])[] = [
  // contractions
  ["s '", "s'"],
  [/\/' [0-9]\//g, "/'[0-9]/"],
  // separators in numbers
  [' @-@ ', '-'],
  [' @,@ ', ','],
  [' @.@ ', '.'],
  // punctuation
  [' : ', ': '],
  [' ; ', '; '],
  [' . ', '. '],
  [' ! ', '! '],
  [' ? ', '? '],
  [' , ', ', '],
  // pairs
  [/\(\s*([^)]*?)\s*\)/g, '($1)'],
  [/\[\s*([^\]]*?)\s*\]/g, '[$1]'],
  [/\{\s*([^}]*?)\s*\}/g, '{$1}'],
  [/"\s*([^"]*?)\s*"/g, '"$1"'],
  [/'\s*([^']*?)\s*'/g, "'$1'"],
  // the rest
  ['= = = =', '===='],
  ['= = =', '==='],
  ['= =', '=='],
  [' \u00b0 ', '\u00b0'],
  [' \n', '\n'],
  ['\n ', '\n'],
  [' N ', ' 1 '],
  [" 's", "'s"],
];

/** WikiText's spaces around punctuation taken out again, in the steps of lm-eval's task, its oddities included. */
export function detokenizeWikiText(page: string): string {
  let text = page;
  for (const [from, to] of STEPS) text = text.replaceAll(from, to);
  return text;
}

/** As many as Python's `re.split(r"\s+", text)` gives, empty ones at the ends included. */
export function countWords(text: string): number {
  return text.split(/\s+/).length;
}
