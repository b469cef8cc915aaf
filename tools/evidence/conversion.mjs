// node tools/evidence/conversion.mjs LABEL RUN INSPECTION: puts a converted model into docs/evidence/conversion.json, in place of the row of
// that label. RUN is the folder of `train --from`, INSPECTION the JSON of `inspect RUN --json` on the book's first sentences.
// With --picture NAME its heads also go into docs/evidence/conversion-heads.json, which picture.mjs draws.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../setup/lib/workspaces.mjs';
import { attentionFigures, largestActivation, ofOneSeed, readJson, saveJson } from './figures.mjs';

/** The command of a run with names in place of this machine's paths, and without what only says where it went. */
export function portable(command) {
  return command
    .replace(/--from \S+/, '--from SmolLM2.gguf')
    .replace(/--distill \S+/, '--distill SOFTMAX')
    .replace(/ --(backend|out|keep|checkpoint-every|eval-every|eval-windows) \S+/g, '');
}

/** A row of the table, of a run's summary and an inspection of it. */
export function conversionRow(label, { command }, { loss, attention }, inspection) {
  const figures = { loss, ...attentionFigures(attention), largestActivation: largestActivation(inspection.attention) };
  return { key: [label], command: portable(command), figures: ofOneSeed(figures) };
}

/** `rows` with `row` in the place of the one of its key, or at the end; each says how far its loss is above `base`'s. */
export function withRow(rows, row, base) {
  const id = (of) => JSON.stringify(of.key);
  const known = rows.some((old) => id(old) === id(row));
  const next = known ? rows.map((old) => (id(old) === id(row) ? row : old)) : [...rows, row];
  const beside = next.find(({ key }) => key[0] === base)?.figures.loss.mean;
  if (beside === undefined) return next;
  return next.map((of) => {
    const above = ofOneSeed({ lossAbove: of.figures.loss.mean - beside });
    return { ...of, figures: { ...of.figures, ...above } };
  });
}

/** First-token weights [layers][heads] of a run, to four digits. */
function heads({ attention: { layers } }) {
  return layers.map((layer) => layer.heads.map(({ firstTokenWeight }) => Number(firstTokenWeight.toFixed(4))));
}

function main() {
  const options = {
    picture: { type: 'string' },
    base: { type: 'string', default: 'fine-tuned, softmax, at twice the rate, in bf16' },
  };
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const [label, run, inspection] = positionals;
  if (inspection === undefined) throw new Error('give a label, the folder of a run, and the JSON of its inspection');
  const summary = readJson(join(run, 'summary.json'));
  const path = join(root, 'docs/evidence/conversion.json');
  const table = readJson(path);
  const row = conversionRow(label, readJson(join(run, 'run.json')), summary, readJson(inspection));
  saveJson(path, { ...table, rows: withRow(table.rows, row, values.base) });
  if (values.picture === undefined) return;
  const picture = join(root, 'docs/evidence/conversion-heads.json');
  saveJson(picture, { ...readJson(picture), [values.picture]: heads(summary) });
}

if (process.argv[1] === import.meta.filename) main();
