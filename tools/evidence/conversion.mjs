// node tools/evidence/conversion.mjs LABEL RUN INSPECTION: puts a converted model into docs/evidence/conversion.json, in place of the row of
// that label. RUN is the folder of `train --from`, INSPECTION the JSON of `inspect RUN --json` on the book's first sentences.
// With --picture NAME its heads also go into docs/evidence/conversion-heads.json, which picture.mjs draws.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../setup/lib/workspaces.mjs';

const read = (...path) => JSON.parse(readFileSync(join(...path), 'utf8'));

/** The command of a run with names in place of this machine's paths, and without what only says where it went. */
export function portable(command) {
  return command
    .replace(/--from \S+/, '--from SmolLM2.gguf')
    .replace(/--distill \S+/, '--distill SOFTMAX')
    .replace(/ --(backend|out|keep|checkpoint-every|eval-every|eval-windows) \S+/g, '');
}

/** A row of the table, of a run's summary and an inspection of it. */
export function conversionRow(label, { command }, { loss, attention: { overall } }, inspection) {
  const largestActivation = Math.max(...inspection.attention.hidden.map((depth) => depth.largestActivation));
  const figures = {
    loss,
    firstTokenWeight: overall.firstTokenWeight,
    'sinkRate@0.3': overall.sinkRate['0.3'],
    'sinkRateNormalised@0.3': overall.sinkRateNormalised['0.3'],
    'sinkRateAnywhere@0.3': overall.sinkRateAnywhere['0.3'],
    sparsity: overall.sparsity,
    rowMass: overall.rowMass,
    largestActivation,
  };
  const spread = Object.entries(figures).map(([name, mean]) => [name, { mean, deviation: null, seeds: 1 }]);
  return { key: [label], command: portable(command), figures: Object.fromEntries(spread) };
}

/** `rows` with `row` in the place of the one of its key, or at the end; each says how far its loss is above `base`'s. */
export function withRow(rows, row, base) {
  const id = (of) => JSON.stringify(of.key);
  const known = rows.some((old) => id(old) === id(row));
  const next = known ? rows.map((old) => (id(old) === id(row) ? row : old)) : [...rows, row];
  const beside = next.find(({ key }) => key[0] === base)?.figures.loss.mean;
  if (beside === undefined) return next;
  return next.map((of) => {
    const lossAbove = { mean: of.figures.loss.mean - beside, deviation: null, seeds: 1 };
    return { ...of, figures: { ...of.figures, lossAbove } };
  });
}

/** First-token weights [layers][heads] of a run, to four digits. */
function heads({ attention: { layers } }) {
  return layers.map((layer) => layer.heads.map(({ firstTokenWeight }) => Number(firstTokenWeight.toFixed(4))));
}

function main() {
  const options = { picture: { type: 'string' }, base: { type: 'string', default: 'fine-tuned, softmax' } };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const [label, run, inspection] = positionals;
  if (inspection === undefined) throw new Error('give a label, the folder of a run, and the JSON of its inspection');
  const summary = read(run, 'summary.json');
  const path = join(root, 'docs/evidence/conversion.json');
  const table = read(path);
  const row = conversionRow(label, read(run, 'run.json'), summary, read(inspection));
  save(path, { ...table, rows: withRow(table.rows, row, values.base) });
  if (values.picture === undefined) return;
  const picture = join(root, 'docs/evidence/conversion-heads.json');
  save(picture, { ...read(picture), [values.picture]: heads(summary) });
}

function save(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
  console.log(`${path}: written; npx biome format --write it`);
}

if (process.argv[1] === import.meta.filename) main();
