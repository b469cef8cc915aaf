// node tools/evidence/inspection.mjs NAME COMMAND INSPECTION: docs/evidence/NAME.json, one row, of the JSON that COMMAND --json printed.
import { join } from 'node:path';
import { root } from '../setup/lib/workspaces.mjs';
import { attentionFigures, largestActivation, ofOneSeed, readJson, saveJson } from './figures.mjs';

/** The table of an inspection. */
export function inspectionTable(command, backend, { loss, tokens, attention }) {
  const figures = { tokens, loss, ...attentionFigures(attention), largestActivation: largestActivation(attention) };
  return { command, settings: { backend }, keys: ['text'], rows: [{ key: ['opening'], figures: ofOneSeed(figures) }] };
}

if (process.argv[1] === import.meta.filename) {
  const [name, command, inspection, backend = 'cpu'] = process.argv.slice(2);
  if (inspection === undefined) throw new Error('give a name, the command, and the JSON of its inspection');
  saveJson(join(root, 'docs/evidence', `${name}.json`), inspectionTable(command, backend, readJson(inspection)));
}
