// Figures of `inspect --json` and of a run's summary by the names that tables have, and files of tables.
import { readFileSync, writeFileSync } from 'node:fs';

/** Figures of an attention summary. */
export function attentionFigures({ overall }) {
  return {
    firstTokenWeight: overall.firstTokenWeight,
    'sinkRate@0.3': overall.sinkRate['0.3'],
    'sinkRateNormalised@0.3': overall.sinkRateNormalised['0.3'],
    'sinkRateAnywhere@0.3': overall.sinkRateAnywhere['0.3'],
    sparsity: overall.sparsity,
    rowMass: overall.rowMass,
    valueNormRatio: overall.valueNormRatio,
  };
}

/** The largest activation of the residual stream at any depth. */
export function largestActivation({ hidden }) {
  return Math.max(...hidden.map((depth) => depth.largestActivation));
}

/** Figures as a table has them, of one seed. */
export function ofOneSeed(figures) {
  return Object.fromEntries(Object.entries(figures).map(([name, mean]) => [name, { mean, deviation: null, seeds: 1 }]));
}

export function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

export function saveJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
  console.log(`${path}: written; format it: npx biome format --write ${path}`);
}
