import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from '../../setup/lib/workspaces.mjs';
import { conversionRow, portable, withRow } from '../conversion.mjs';
import { inspectionTable } from '../inspection.mjs';
import { DOCUMENTS, filled, readTables, rendered, strayFigures } from '../tables.mjs';

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
/** Decimals of the documents that are no figures: versions. */
const VERSIONS = ['20.19', '2.0'];
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

  it('list the commands of rows that were made one by one', () => {
    const rows = [{ ...RESULT.rows[0], command: 'lazy-attention train y' }, RESULT.rows[1]];
    expect(
      rendered(TABLE, { ...RESULT, rows })
        .split('\n')
        .slice(-2),
    ).toEqual(['', '- Softmax: `npx lazy-attention train y`']);
  });

  it.each(DOCUMENTS)('%s is what the script makes', (name) => {
    const text = readFileSync(join(root, name), 'utf8');
    expect(filled(text, readTables())).toBe(text);
  });
});

describe('figures in prose', () => {
  it('are those of a table, or are found', () => {
    const text =
      '0.79 and 3.1, `9.9`, [x](a1.5.md), arXiv 2410.13835\n<!-- table x -->\n| 0.794 |\n<!-- end -->\n2.718';
    expect(strayFigures(text)).toEqual(['3.1', '2.718']);
  });

  it.each(DOCUMENTS)('%s has none beside its tables', (name) => {
    const found = strayFigures(readFileSync(join(root, name), 'utf8'));
    expect(found.filter((figure) => !VERSIONS.includes(figure))).toEqual([]);
  });
});

describe('tables of single runs', () => {
  const rates = { 0.3: 0.5 };
  const overall = {
    ...{ firstTokenWeight: 0.4, sinkRate: rates, sinkRateNormalised: rates, sinkRateAnywhere: rates },
    ...{ sparsity: 0, rowMass: 1, valueNormRatio: 0.3 },
  };
  const attention = { overall, hidden: [{ largestActivation: 5 }, { largestActivation: 7 }] };
  const row = (label, loss) =>
    conversionRow(label, { command: 'lazy-attention train x' }, { loss, attention }, { attention });

  it('have the figures of a summary and the command without this machine’s paths', () => {
    const { command, figures } = row('lazy', 3.5);
    expect(command).toBe('lazy-attention train x');
    expect(figures['sinkRate@0.3']).toEqual({ mean: 0.5, deviation: null, seeds: 1 });
    expect(figures.largestActivation.mean).toBe(7);
    expect(portable('train b --from /a/b.gguf --lr 1 --distill /r/s --backend cpu --keep 1 --out /o')).toBe(
      'train b --from SmolLM2.gguf --lr 1 --distill SOFTMAX',
    );
  });

  it('a new row takes the place of the old one, and losses are given above the base', () => {
    const rows = withRow(withRow([row('softmax', 3)], row('lazy', 3.5), 'softmax'), row('lazy', 3.25), 'softmax');
    expect(rows.map(({ key, figures }) => [key[0], figures.lossAbove.mean])).toEqual([
      ['softmax', 0],
      ['lazy', 0.25],
    ]);
  });

  it('an inspection is a table of one row', () => {
    const { settings, rows } = inspectionTable('lazy-attention inspect y', 'cpu', { loss: 4, tokens: 9, attention });
    expect(settings).toEqual({ backend: 'cpu' });
    expect(rows[0].figures.tokens.mean).toBe(9);
  });
});
