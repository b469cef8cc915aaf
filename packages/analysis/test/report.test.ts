import { AnalysisError } from '@lazy-attention/analysis';
import { renderPicture, renderReport } from '@lazy-attention/analysis/report';
import { describe, expect, test } from 'vitest';
import { curveBand, groupRuns, pairedDifference, spread } from '../src/report/aggregate.ts';
import type { ReportRun } from '../src/report/data.ts';
import { verdicts } from '../src/report/headline.ts';
import { html, jsonScript, script, textOf } from '../src/report/html.ts';
import { changesBetween } from '../src/report/live.ts';

const BASE: ReportRun = {
  scenario: 'nano',
  arm: 'Lazy',
  kind: 'lazy',
  seed: 0,
  name: 'run',
  command: '',
  parameters: 1,
  steps: 1,
  stepsDone: 1,
  tokensPerStep: 1,
  seconds: 1,
  training: [],
  validation: [],
  final: null,
  attention: null,
  mapTokens: [],
  sample: null,
};
const run = (kind: ReportRun['kind'], seed: number, loss: number | null): ReportRun => ({
  ...BASE,
  arm: kind,
  kind,
  seed,
  final: loss === null ? null : { loss, perplexity: Math.exp(loss), bitsPerByte: loss / Math.LN2 },
});

describe('aggregation', () => {
  test('runs become arms, baselines first; seeds are paired', () => {
    const [scenario] = groupRuns([
      run('lazy', 1, 2),
      run('lazy', 0, 1),
      run('softmax', 0, 1.5),
      run('softmax', 1, 2.1),
    ]);
    expect(scenario.arms.map(({ name, runs }) => [name, runs.map(({ seed }) => seed)])).toEqual([
      ['softmax', [0, 1]],
      ['lazy', [0, 1]],
    ]);
    const difference = pairedDifference(scenario.arms[1], scenario.arms[0], ({ final }) => final?.loss);
    expect(difference?.mean).toBeCloseTo(-0.3, 12);
    expect(difference?.deviation).toBeCloseTo(Math.SQRT2 * 0.2, 12);
  });

  test('one seed has no spread, and what is missing is not counted', () => {
    expect(spread([run('lazy', 0, 3)], ({ final }) => final?.loss)).toEqual({ mean: 3, deviation: null, count: 1 });
    expect(spread([run('lazy', 0, 3), run('lazy', 1, null)], ({ final }) => final?.loss)?.count).toBe(1);
    expect(spread([run('lazy', 1, null)], ({ final }) => final?.loss)).toBeNull();
  });

  test('curves of different lengths', () => {
    const of = (losses: number[]) => losses.map((loss, n) => ({ step: n + 1, loss }));
    expect(curveBand([of([4, 2, 3, 1]), of([6, 4])], 2)).toEqual([
      { step: 2, mean: 4, low: 3, high: 5 },
      { step: 4, mean: 2, low: 2, high: 2 },
    ]);
    expect(curveBand([[], []], 10)).toEqual([]);
  });
});

test('verdicts are open, met or not met', () => {
  expect(verdicts(groupRuns([run('lazy', 0, null)])[0]).map(({ met }) => met)).toEqual([null, null, null]);
  expect(verdicts(groupRuns([run('lazy', 0, 1.011), run('softmax', 0, 1)])[0])[0]).toMatchObject({ met: false });
  expect(verdicts(groupRuns([run('lazy', 0, 1.009), run('softmax', 0, 1)])[0])[0]).toMatchObject({ met: true });
  expect(verdicts(groupRuns([run('softmax', 0, 1)])[0])).toEqual([]);
});

test('nothing in the data can end a script or start an element', () => {
  expect(textOf(html`<p title="${'"><b>'}">${'<script>'}</p>`)).toBe(
    '<p title="&quot;&gt;&lt;b&gt;">&lt;script&gt;</p>',
  );
  expect(textOf(jsonScript('x', '</script><b>'))).toContain('\\u003c/script>\\u003cb>');
  expect(textOf(script('const a = "</script>";').element)).toBe('<script>const a = "<\\/script>";</script>');
});

test('an object that looks like HTML is none', () => {
  const forged = JSON.parse('{"source": "<img src=x onerror=alert(1)>"}');
  for (const value of [forged, { ...html`<b>bold</b>` }, Object.create(html`<b>bold</b>`), null, undefined, [html``]]) {
    expect(() => html`<p>${value as never}</p>`).toThrow(/REPORT_DATA|expected text or a number/);
  }
  expect(textOf(html`<p>${html`<b>bold</b>`}</p>`)).toBe('<p><b>bold</b></p>');
});

test.each([
  ['command', { source: '<img src=x onerror=alert(1)>' }],
  ['name', null],
  ['seed', '1'],
  ['training', [{ step: 1, loss: '1' }]],
  ['mapTokens', [{ $css: '--x' }]],
  ['attention', { overall: {} }],
  ['sample', 3],
])('data with a wrong %s is refused by name', (field, value) => {
  const data = {
    title: 't',
    generatedAt: '2026-01-02T03:04:05.000Z',
    command: 'c',
    environment: [],
    notes: [],
    runs: [{ ...BASE, [field]: value }],
  };
  expect(() => renderReport(data as never)).toThrow(new RegExp(`runs\\.0\\.${field}`));
  expect(() => renderPicture(data as never)).toThrow(AnalysisError);
});

test('a live page is sent what has changed and nothing else', () => {
  const chart = (x: number) => ({ option: { x }, table: { columns: [], rows: [] } });
  const before = { page: '', main: '<main>1</main>', charts: { a: chart(1), b: chart(1) } };
  expect(changesBetween(before, { ...before, page: 'other' })).toBeNull();
  expect(changesBetween(before, { ...before, charts: { a: chart(1), b: chart(2), c: chart(3) } })).toEqual({
    charts: { b: chart(2), c: chart(3) },
  });
  expect(changesBetween(before, { ...before, main: '<main>2</main>' })).toEqual({ main: '<main>2</main>', charts: {} });
  expect(changesBetween(null, before)).toEqual({ main: before.main, charts: before.charts });
});
