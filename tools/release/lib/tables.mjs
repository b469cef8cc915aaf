import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { currentTarget, targetName } from '@lazy-attention/native';

const README = join(import.meta.dirname, '../README.md');

/** Puts a table where the release's README has its place, with the day and the machine. Called with --write. */
export function writeTable(name, table) {
  writeFileSync(README, placed(readFileSync(README, 'utf8'), name, `${madeOn()}\n\n${table}`));
}

/** `text` with what stands between `<!-- made NAME -->` and the next `<!-- end -->` made anew. @throws Error where there is no such place */
export function placed(text, name, table) {
  const place = new RegExp(`<!-- made ${name} -->\n[\\s\\S]*?<!-- end -->`);
  if (!place.test(text)) throw new Error(`there is no place for the table '${name}'`);
  return text.replace(place, () => `<!-- made ${name} -->\n${table}\n<!-- end -->`);
}

function madeOn() {
  const day = new Date().toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric' });
  return `On ${day}, ${targetName(currentTarget())}, ${availableParallelism()} processors, Node ${process.version}:`;
}

/** Cells as rows in Markdown; the first row is the head. */
export function markdown([head, ...rows]) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}
