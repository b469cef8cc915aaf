/** Columns of a line of prose. */
const WIDTH = 120;

const ITEM = /^(\s*(?:[-*+]|\d+[.)])\s+)/;
/** What a line of prose may not begin with: it would become a list, a heading, a quotation or a table. */
const MARKER = /^(?:[-*+>|=]|#{1,6}|\d+[.)])$/;
/** Lines that stand as they are: tables, headings, HTML, quotations, pictures, definitions of links, rules. */
const FIXED = /^\s*(?:\||#|<|>|\[?!\[|\[[^\]]+\]:|---|\*\*\*)/;

/** Code by its indent, which cannot begin within a paragraph. */
const INDENTED = /^ {4,}\S/;

/**
 * Markdown whose paragraphs and list items with a line of more than 120 columns are broken anew. Code, tables and what a
 * script wrote (`<!-- table ... -->` to `<!-- end -->`) stay, and so does whatever has no space to break at.
 */
export function wrapProse(markdown) {
  const lines = markdown.split('\n');
  const out = [];
  let block = [];
  let until = markdown.startsWith('---\n') ? /^---$/ : null; // inside something that stays, its end
  const flush = () => {
    out.push(...(block.some((line) => line.length > WIDTH) ? broken(block) : block));
    block = [];
  };
  lines.forEach((line, i) => {
    const opens = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (until !== null) {
      out.push(line);
      if (i > 0 && until.test(line)) until = null;
    } else if (opens !== undefined || line.startsWith('<!-- table ')) {
      flush();
      out.push(line);
      until = opens === undefined ? /^<!-- end -->$/ : new RegExp(`^\\s*${opens}\\s*$`);
    } else if (line.trim() === '' || FIXED.test(line)) {
      flush();
      out.push(line);
    } else if (block.length === 0 && INDENTED.test(line) && !ITEM.test(line)) {
      out.push(line);
    } else {
      if (ITEM.test(line)) flush();
      block.push(line);
    }
  });
  flush();
  return out.join('\n');
}

/** One paragraph or list item. A line that ends in a break keeps it, and the block stays as it is. */
function broken(block) {
  if (block.some((line) => / {2}$|\\$/.test(line))) return block;
  const first = ITEM.exec(block[0])?.[1] ?? /^\s*/.exec(block[0])[0];
  const rest = ' '.repeat(first.length);
  const text = block.map((line) => line.trim()).join(' ');
  const lines = [];
  let line = first.trimEnd() === '' ? first : '';
  let empty = true;
  for (const word of words(text)) {
    if (!empty && line.length + 1 + word.length > WIDTH && !MARKER.test(word)) {
      lines.push(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return [...lines, line];
}

/** A span of code is one word, and so is a number with its percent sign. */
function words(text) {
  const whole = text.replaceAll(/(`+)(?!`).+?(?<!`)\1(?!`)/g, (code) => code.replaceAll(' ', '\0'));
  return whole
    .replaceAll(/(\d) %/g, '$1\0%')
    .split(/ +/)
    .map((word) => word.replaceAll('\0', ' '));
}

/** One sentence for each file { path, text } of Markdown that `wrapProse` would change. */
export function wideProse(files) {
  return files.flatMap(({ path, text }) => {
    const wrapped = wrapProse(text);
    if (wrapped === text) return [];
    const after = wrapped.split('\n');
    const line = text.split('\n').findIndex((before, i) => before !== after[i]);
    return [`${path}:${line + 1}: prose wider than ${WIDTH} columns; npm run format breaks it`];
  });
}
