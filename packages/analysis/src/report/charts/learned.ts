import { type AttentionKind, attentionKind, isAttentionKind, isFused } from '@lazy-attention/nn';
import type { LayerMetrics } from '../../metrics/summary.ts';
import type { Arm, Scenario } from '../aggregate.ts';
import { armStyle, axis, type Chart, type ChartGroup, call, css, frame, short, slug } from './chart.ts';

/** What training made of bias and tau, which start at 0 and -1. Of the first seed, since heads differ from seed to seed. */
export function learnedParameters(scenario: Scenario, id: string): ChartGroup | null {
  const learners = scenario.arms.filter(
    ({ kind, runs }) => learns(kind) && runs[0].attention?.layers.some(({ heads }) => heads.some(isLearned)),
  );
  if (learners.length === 0) return null;
  return {
    id: `${id}-learned`,
    title: 'What the heads learned: bias and τ',
    reading:
      'b(d) is added to the score of a key at distance d: a falling curve is a head that looks nearby. It starts at 0. τ / n is added to each of n softmax weights before the ReLU: it starts at −1, and the lower, the more weights are cut to 0.',
    columns: 'half',
    folded: true,
    charts: learners.flatMap((arm) => {
      const layers = arm.runs[0].attention?.layers ?? [];
      return [
        ...layers
          .filter(({ heads }) => heads.some(({ bias }) => bias !== null))
          .map((layer) => biasChart(arm, layer, id)),
        ...(layers.some(({ heads }) => heads.some(({ tau }) => tau !== null))
          ? [tauChart(arm, layers, scenario.arms, id)]
          : []),
      ];
    }),
  };
}

/** ALiBi's bias is seen, but fixed. */
function learns(name: AttentionKind): boolean {
  const kind = isAttentionKind(name) ? attentionKind(name) : null;
  return kind === null || !isFused(kind) || kind.fused.bias !== 'alibi';
}

function isLearned({ tau, bias }: { tau: number | null; bias: readonly number[] | null }): boolean {
  return tau !== null || bias !== null;
}

function biasChart(arm: Arm, { layer, heads }: LayerMetrics, id: string): Chart {
  const curves = heads.flatMap(({ head, bias }) => (bias === null ? [] : [{ head, bias }]));
  const all = curves.flatMap(({ bias }) => bias);
  return {
    id: `${id}-bias-${slug(arm.name)}-${layer}`,
    title: `${arm.name}: bias by distance, layer ${layer}`,
    label: `${arm.name}: learned bias of ${curves.length} heads in layer ${layer} by distance, from ${short(Math.min(...all), 3)} to ${short(Math.max(...all), 3)}.`,
    height: '15rem',
    option: frame(
      {
        xAxis: axis('distance', { type: 'value', max: 'dataMax', splitLine: { show: false } }),
        yAxis: axis('', { type: 'value' }),
        series: curves.map(({ head, bias }) => ({
          name: `head ${head}`,
          type: 'line',
          showSymbol: false,
          sampling: 'lttb',
          lineStyle: { width: 1.8, color: css(`--head-${head % 8}`), type: head < 8 ? 'solid' : 'dashed' },
          itemStyle: { color: css(`--head-${head % 8}`) },
          data: bias.map((value, distance) => [distance, short(value, 3)]),
        })),
      },
      ['distance', ''],
    ),
    table: {
      columns: ['head', 'distance', 'bias'],
      rows: curves.flatMap(({ head, bias }) => bias.map((value, distance) => [head, distance, short(value)])),
    },
  };
}

function tauChart(arm: Arm, layers: readonly LayerMetrics[], arms: readonly Arm[], id: string): Chart {
  const points = layers.flatMap(({ layer, heads }) =>
    heads.flatMap(({ head, tau }) => (tau === null ? [] : [{ layer, head, tau }])),
  );
  const values = points.map(({ tau }) => tau);
  const { color, symbol } = armStyle(arm, arms);
  return {
    id: `${id}-tau-${slug(arm.name)}`,
    title: `${arm.name}: τ by layer`,
    label: `${arm.name}: learned tau of ${points.length} heads, from ${short(Math.min(...values), 3)} to ${short(Math.max(...values), 3)}; it started at -1.`,
    height: '15rem',
    option: frame({
      legend: { show: false },
      grid: { left: 56, right: 16, top: 12, bottom: 44 },
      tooltip: { ...(frame({}).tooltip as object), trigger: 'item', formatter: call('tau') },
      xAxis: axis('layer', {
        type: 'category',
        data: layers.map(({ layer }) => String(layer)),
        splitLine: { show: false },
      }),
      yAxis: axis('', { type: 'value', scale: true }),
      series: [
        {
          name: arm.name,
          type: 'scatter',
          symbol,
          symbolSize: 11,
          itemStyle: { color, opacity: 0.75 },
          data: points.map(({ layer, head, tau }) => [String(layer), short(tau), head]),
          markLine: {
            silent: true,
            symbol: 'none',
            lineStyle: { color: css('--ink-soft'), type: 'dashed' },
            label: { formatter: 'start', color: css('--ink-soft'), position: 'insideEndTop' },
            data: [{ yAxis: -1 }],
          },
        },
      ],
    }),
    table: {
      columns: ['layer', 'head', 'tau'],
      rows: points.map(({ layer, head, tau }) => [layer, head, short(tau, 6)]),
    },
  };
}
