import type { AttentionSummary, HeadMetrics } from '../../metrics/summary.ts';
import type { Arm, Scenario } from '../aggregate.ts';
import { axis, type Chart, type ChartGroup, call, css, frame, short, slug, TOOLTIP } from './chart.ts';

/** Layer by head, one picture per arm, means over the seeds. */
export function sparsityByHead(scenario: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-sparsity`,
    title: 'Sparsity by layer and head',
    reading:
      'Share of the attended pairs (query, key) whose weight is exactly 0, in percent. Softmax cannot give exact zeros, so its pictures stay empty.',
    columns: 'small',
    charts: scenario.arms.flatMap((arm) =>
      headChart(arm, `${id}-sparsity`, 'sparsity', '--heat-sparsity', (head) => head.sparsity),
    ),
  };
}

export function firstTokenByHead(scenario: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-first-token`,
    title: 'Weight on the first token, by layer and head',
    reading:
      'Mean weight that a query puts on the first token of its text, in percent of a full row. A head above 30 % is called a sink.',
    columns: 'small',
    charts: scenario.arms.flatMap((arm) =>
      headChart(arm, `${id}-first-token`, 'first-token weight', '--heat-sink', (head) => head.firstTokenWeight),
    ),
  };
}

function headChart(
  arm: Arm,
  id: string,
  what: string,
  palette: string,
  figure: (head: HeadMetrics) => number,
): Chart[] {
  const summaries = arm.runs
    .map((run) => run.attention)
    .filter((summary): summary is AttentionSummary => summary !== null);
  if (summaries.length === 0) return [];
  const { layers } = summaries[0];
  const heads = Math.max(...layers.map((layer) => layer.heads.length));
  const cells = layers.flatMap(({ layer, heads: of }, l) =>
    of.map((_, h) => {
      const mean = summaries.reduce((sum, summary) => sum + figure(summary.layers[l].heads[h]), 0) / summaries.length;
      return { layer, head: h, mean };
    }),
  );
  const values = cells.map(({ mean }) => 100 * mean);
  const labelled = cells.length <= 48;
  return [
    {
      id: `${id}-${slug(arm.name)}`,
      title: arm.name,
      label: `${arm.name}: ${what} by layer and head, from ${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)} percent.`,
      height: `${Math.min(26, 5 + layers.length * 1.9)}rem`,
      option: frame({
        legend: { show: false },
        grid: { left: 44, right: 8, top: 6, bottom: 42 },
        tooltip: { trigger: 'item', confine: true, ...TOOLTIP, formatter: call('cell', what) },
        xAxis: axis('head', { type: 'category', data: range(heads), splitLine: { show: false } }),
        yAxis: axis('layer', {
          type: 'category',
          data: layers.map(({ layer }) => String(layer)),
          splitLine: { show: false },
        }),
        visualMap: {
          show: false,
          min: 0,
          max: 100,
          dimension: 2,
          inRange: { color: [0, 1, 2, 3].map((stop) => css(`${palette}-${stop}`)) },
        },
        series: [
          {
            type: 'heatmap',
            name: what,
            data: cells.map(({ layer, head, mean }) => {
              const percent = short(100 * mean, 3);
              // Dark cells carry light figures.
              return {
                value: [head, layer, percent],
                label: { color: percent > 55 ? css('--on-heat') : css('--ink') },
              };
            }),
            label: { show: labelled, formatter: call('cellLabel'), fontSize: 11 },
            itemStyle: { borderColor: css('--surface'), borderWidth: 2 },
          },
        ],
      }),
      table: {
        columns: ['layer', 'head', `${what} (percent)`],
        rows: cells.map(({ layer, head, mean }) => [layer, head, short(100 * mean, 6)]),
      },
    },
  ];
}

function range(count: number): string[] {
  return Array.from({ length: count }, (_, n) => String(n));
}
