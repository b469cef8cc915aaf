// The tables of the docs from table.json of `compare` and `study`: a figure is a mean over seeds and, with more than one, its
// sample standard deviation.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/lib/workspaces.mjs';

/** Where tables stand: between `<!-- table NAME -->` and `<!-- end -->`. */
const BLOCK = /<!-- table ([\w-]+) -->\n[\s\S]*?<!-- end -->/g;

/** The documents that hold tables. */
export const DOCUMENTS = ['docs/evidence.md', 'README.md'];

/** docs/evidence/tables.json: by name, the JSON file and the columns. */
export function readTables() {
  return JSON.parse(readFileSync(join(root, 'docs/evidence/tables.json'), 'utf8'));
}

/** `text` with every table made anew. Throws for a table that tables.json does not know. */
export function filled(text, tables, read = readResult) {
  return text.replace(BLOCK, (_, name) => {
    const table = tables[name];
    if (table === undefined) throw new Error(`docs/evidence/tables.json has no table '${name}'`);
    return `<!-- table ${name} -->\n${rendered(table, read(table.file))}\n<!-- end -->`;
  });
}

function readResult(file) {
  return JSON.parse(readFileSync(join(root, 'docs/evidence', file), 'utf8'));
}

/** The command that made it, then the rows in Markdown. */
export function rendered({ columns, rows: wanted }, { command, settings, keys, rows }) {
  const figures = Object.entries(columns);
  for (const [name] of figures) {
    if (!rows.some((row) => row.figures[name] !== undefined)) throw new Error(`no row has the figure '${name}'`);
  }
  const head = [...keys, ...figures.map(([, { label }]) => label)];
  const shown = rows.filter(({ key }) => wanted === undefined || wanted.includes(key.at(-1)));
  const body = shown.map((row) => [
    ...row.key.map(String),
    ...figures.map(([name, { format }]) => cell(row.figures[name], format)),
  ]);
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const table = [line(head), line(head.map(() => '---')), ...body.map(line)];
  return [made(command, settings), '', ...table, ...commandsOf(shown)].join('\n');
}

/** The command above a table, and what it does not say: what was trained, where anything was. */
function made(command, { preset, context, steps, batch, learningRate, backend }) {
  if (steps === undefined) return `\`npx ${command}\`, backend ${backend}.`;
  const rate = learningRate === undefined ? '' : `peak learning rate ${learningRate}, `;
  return `\`npx ${command}\`: ${preset}, context ${context}, ${steps} steps of ${batch} sequences, ${rate}backend ${backend}.`;
}

/** The commands of rows that were made one by one. */
function commandsOf(rows) {
  const made = rows.filter(({ command }) => command !== undefined);
  if (made.length === 0) return [];
  return ['', ...made.map(({ key, command }) => `- ${key.join(', ')}: \`npx ${command}\``)];
}

/**
 * Figures with a decimal point in the prose of `text` that none of its tables has, and so would not follow when a table is made
 * anew. Commands, code, links and the numbers of papers are not figures.
 */
export function strayFigures(text) {
  const tables = (text.match(BLOCK) ?? []).join('\n');
  const prose = text.replace(BLOCK, '').replace(/`[^`]*`|\]\([^)]*\)|arXiv \d+\.\d+/g, '');
  const told = (figure) => new RegExp(`(?<![\\d.])${figure.replace('.', '\\.')}`).test(tables);
  return (prose.match(/\d+\.\d+/g) ?? []).filter((figure) => !told(figure));
}

function cell(figure, format) {
  if (figure === undefined) return '—';
  const shown = (x) => (format === '%' ? `${(100 * x).toFixed(1)} %` : x.toFixed(format));
  return figure.deviation === null ? shown(figure.mean) : `${shown(figure.mean)} ± ${shown(figure.deviation)}`;
}
