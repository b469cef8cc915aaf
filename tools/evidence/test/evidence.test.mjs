import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from '../../setup/lib/workspaces.mjs';
import { DOCUMENTS, filled, readTables, rendered } from '../tables.mjs';

const SETTINGS = { preset: 'pico', context: 128, steps: 3000, batch: 16, learningRate: 0.003, backend: 'cpu' };
const RESULT = {
  command: 'lazy-attention compare x',
  settings: SETTINGS,
  keys: ['attention'],
  rows: [
    { key: ['Softmax'], figures: { loss: { mean: 1.25, deviation: 0.125, seeds: 2 } } },
    { key: ['Lazy'], figures: { sparsity: { mean: 0.5, deviation: null, seeds: 1 } } },
  ],
};
const TABLE = {
  file: 'x.json',
  columns: { loss: { label: 'loss', format: 3 }, sparsity: { label: 'zeros', format: '%' } },
};

describe('tables', () => {
  it('have the command, the labels and a dash where there is no figure', () => {
    expect(rendered(TABLE, RESULT).split('\n')).toEqual([
      '`npx lazy-attention compare x`: pico, context 128, 3000 steps of 16 sequences, peak learning rate 0.003, backend cpu.',
      '',
      '| attention | loss | zeros |',
      '| --- | --- | --- |',
      '| Softmax | 1.250 ± 0.125 | — |',
      '| Lazy | — | 50.0 % |',
    ]);
  });

  it('keep only the rows that are wanted', () => {
    expect(rendered({ ...TABLE, rows: ['Lazy'], columns: { sparsity: TABLE.columns.sparsity } }, RESULT)).not.toContain(
      'Softmax',
    );
  });

  it('refuse a figure that no row has, and a table that is not listed', () => {
    expect(() => rendered({ ...TABLE, columns: { kurtosis: { label: '', format: 1 } } }, RESULT)).toThrow('kurtosis');
    expect(() => filled('<!-- table y -->\n<!-- end -->', {}, () => RESULT)).toThrow("'y'");
  });

  it.each(DOCUMENTS)('%s is what the script makes', (name) => {
    const text = readFileSync(join(root, name), 'utf8');
    expect(filled(text, readTables())).toBe(text);
  });
});
