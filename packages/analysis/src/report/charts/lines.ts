import type { AttentionSummary } from '../../metrics/summary.ts';
import { type Arm, type Scenario, spread } from '../aggregate.ts';
import { armStyle, axis, type Chart, type ChartGroup, css, frame, type Option, short } from './chart.ts';

/** One figure per arm over something that all arms share: layers, depths, thresholds, tile sizes. */
interface LineSpec {
  readonly id: string;
  readonly title: string;
  readonly xName: string;
  /** 'percent' shows shares from 0 to 1 as percent. */
  readonly unit: 'number' | 'percent';
  /** A logarithmic axis where the values span more than a factor of 20. */
  readonly wide?: boolean;
  /** x labels and values of one model; null leaves a gap. */
  readonly points: (summary: AttentionSummary) => readonly (readonly [x: string, y: number | null])[];
  readonly bars?: boolean;
}

/** A chart of one figure per arm. */
export function lineChart(arms: readonly Arm[], spec: LineSpec): Chart {
  const factor = spec.unit === 'percent' ? 100 : 1;
  const lines = arms.flatMap((arm) => {
    const measured = arm.runs.filter((run) => run.attention !== null);
    if (measured.length === 0) return [];
    const labels = spec.points(measured[0].attention as AttentionSummary).map(([x]) => x);
    const values = labels.map((label) =>
      spread(measured, (run) => spec.points(run.attention as AttentionSummary).find(([x]) => x === label)?.[1]),
    );
    return [{ arm, labels, values }];
  });
  const categories = [...new Set(lines.flatMap(({ labels }) => labels))];
  const positive = lines
    .flatMap(({ values }) => values.flatMap((value) => (value === null ? [] : [value.mean])))
    .filter((x) => x > 0);
  const logarithmic = spec.wide === true && Math.max(...positive) > 20 * Math.min(...positive);
  const series = lines.map(({ arm, labels, values }): Option => {
    const { color, symbol, dash } = armStyle(arm, arms);
    return {
      name: arm.name,
      type: spec.bars ? 'bar' : 'line',
      symbol,
      symbolSize: 8,
      itemStyle: { color },
      lineStyle: { color, width: 2, type: dash },
      data: categories.map((x) => {
        const value = values[labels.indexOf(x)];
        // A logarithmic axis has no place for 0.
        return value == null || (logarithmic && value.mean <= 0) ? null : short(factor * value.mean);
      }),
    };
  });
  const percent = spec.unit === 'percent';
  return {
    id: spec.id,
    title: spec.title,
    label: `${spec.title} by ${spec.xName}: ${lines
      .map(({ arm, values }) => {
        const means = values.flatMap((value) => (value === null ? [] : [factor * value.mean]));
        return `${arm.name} from ${short(Math.min(...means), 3)} to ${short(Math.max(...means), 3)}${percent ? ' percent' : ''}`;
      })
      .join('; ')}.`,
    option: frame(
      {
        xAxis: axis(spec.xName, {
          type: 'category',
          data: categories,
          boundaryGap: spec.bars === true,
          splitLine: { show: false },
        }),
        yAxis: axis('', {
          type: logarithmic ? 'log' : 'value',
          ...(percent ? { min: 0, axisLabel: { formatter: '{value} %', color: css('--ink-soft') } } : {}),
        }),
        series,
      },
      [spec.xName, percent ? '%' : ''],
    ),
    table: {
      columns: ['arm', spec.xName, percent ? 'mean (percent)' : 'mean', 'standard deviation', 'seeds'],
      rows: lines.flatMap(({ arm, labels, values }) =>
        labels.flatMap((x, n) => {
          const value = values[n];
          if (value === null) return [];
          const deviation = value.deviation === null ? null : short(factor * value.deviation);
          return [[arm.name, x, short(factor * value.mean, 6), deviation, value.count]];
        }),
      ),
    },
  };
}

/** Whether the models have sinks, and where. */
export function sinks({ arms }: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-sinks`,
    title: 'Attention sinks',
    reading:
      'Left: the mean weight on each of the first positions of a text; a sink on the first token is a tall bar at 0. Right: the share of heads that give one position, whichever it is, more than a threshold; papers report 0.3.',
    columns: 'half',
    charts: [
      lineChart(arms, {
        id: `${id}-positions`,
        title: 'Mean weight on the first positions',
        xName: 'position',
        unit: 'percent',
        bars: true,
        points: ({ layers }) => {
          const heads = layers.flatMap((layer) => layer.heads);
          return (heads[0]?.positionWeights ?? []).map((_, k) => [
            String(k),
            heads.reduce((sum, head) => sum + (head.positionWeights[k] ?? 0), 0) / heads.length,
          ]);
        },
      }),
      lineChart(arms, {
        id: `${id}-sink-rate`,
        title: 'Sink rate, wherever the sink is',
        xName: 'threshold',
        unit: 'percent',
        points: ({ overall }) => Object.entries(overall.sinkRateAnywhere),
      }),
    ],
  };
}

/** The first token alone, and what goes with a sink. */
export function sinkDetails({ arms }: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-sink-details`,
    title: 'Sinks in detail',
    reading:
      'The first token alone, as it is and after dividing each row by its sum, since elastic weights need not sum to one. A sink takes weight and gives nothing: the norm of its value is drained (far below that of the others), while its norm in the residual stream peaks.',
    columns: 'half',
    folded: true,
    charts: [
      lineChart(arms, {
        id: `${id}-sink-rate-first`,
        title: 'Sink rate of the first token',
        xName: 'threshold',
        unit: 'percent',
        points: ({ overall }) => Object.entries(overall.sinkRate),
      }),
      lineChart(arms, {
        id: `${id}-sink-rate-normalised`,
        title: 'The same, rows normalised',
        xName: 'threshold',
        unit: 'percent',
        points: ({ overall }) => Object.entries(overall.sinkRateNormalised),
      }),
      lineChart(arms, {
        id: `${id}-first-token-layer`,
        title: 'First-token weight by layer',
        xName: 'layer',
        unit: 'percent',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.firstTokenWeight]),
      }),
      lineChart(arms, {
        id: `${id}-strongest-layer`,
        title: 'Weight on the strongest position by layer',
        xName: 'layer',
        unit: 'percent',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.strongestPositionWeight]),
      }),
      lineChart(arms, {
        id: `${id}-value-norm`,
        title: 'Norm of the value there, over the mean',
        xName: 'layer',
        unit: 'number',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.valueNormRatio]),
      }),
      lineChart(arms, {
        id: `${id}-first-norm`,
        title: 'Norm of the first token, over the mean',
        xName: 'depth in layers',
        unit: 'number',
        points: byDepth((hidden) => hidden.firstTokenNormRatio),
      }),
    ],
  };
}

/** How the heads spread their weight. */
export function focus({ arms }: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-focus`,
    title: 'How focused the heads are',
    reading:
      'Entropy as a share of the largest possible: 100 % is attention spread evenly over all keys (overload). Row mass: the sum of a row of weights, which softmax fixes at 1. Idle tiles: share of square tiles in which every weight is 0, which is what a kernel could skip.',
    columns: 'half',
    folded: true,
    charts: [
      lineChart(arms, {
        id: `${id}-entropy`,
        title: 'Entropy of a row, share of the maximum',
        xName: 'layer',
        unit: 'percent',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.entropyNormalised]),
      }),
      lineChart(arms, {
        id: `${id}-row-mass`,
        title: 'Row mass',
        xName: 'layer',
        unit: 'number',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.rowMass]),
      }),
      lineChart(arms, {
        id: `${id}-surviving`,
        title: 'Softmax mass that survives the cut',
        xName: 'layer',
        unit: 'percent',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.survivingMass]),
      }),
      lineChart(arms, {
        id: `${id}-layer-sparsity`,
        title: 'Sparsity by layer',
        xName: 'layer',
        unit: 'percent',
        points: ({ layers }) => layers.map(({ layer, overall }) => [String(layer), overall.sparsity]),
      }),
      lineChart(arms, {
        id: `${id}-tiles`,
        title: 'Idle tiles',
        xName: 'tile size',
        unit: 'percent',
        bars: true,
        points: ({ overall }) => Object.entries(overall.inactiveTiles),
      }),
    ],
  };
}

/** How alike tokens become with depth, and how large activations. */
export function collapse({ arms }: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-collapse`,
    title: 'Collapse by depth',
    reading:
      'How alike the representations of different tokens become on their way through the layers (whole numbers: before attention, halves: before the MLP). Cosine similarity 1 and effective rank 1 mean that all tokens look the same. Massive activations come with sinks and make quantisation hard.',
    columns: 'half',
    folded: true,
    charts: [
      lineChart(arms, {
        id: `${id}-cosine`,
        title: 'Cosine similarity between tokens',
        xName: 'depth in layers',
        unit: 'number',
        points: byDepth((hidden) => hidden.cosineSimilarity),
      }),
      lineChart(arms, {
        id: `${id}-rank`,
        title: 'Effective rank',
        xName: 'depth in layers',
        unit: 'number',
        points: byDepth((hidden) => hidden.effectiveRank),
      }),
      lineChart(arms, {
        id: `${id}-kurtosis`,
        title: 'Kurtosis of activations (3: normal)',
        xName: 'depth in layers',
        unit: 'number',
        wide: true,
        points: byDepth((hidden) => hidden.kurtosis),
      }),
      lineChart(arms, {
        id: `${id}-largest`,
        title: 'Largest activation',
        xName: 'depth in layers',
        unit: 'number',
        wide: true,
        points: byDepth((hidden) => hidden.largestActivation),
      }),
    ],
  };
}

/** Points by depth: in a pre-norm Transformer norms alternate, before attention and before the MLP; the last is the final one. */
function byDepth(figure: (of: AttentionSummary['hidden'][number]) => number): LineSpec['points'] {
  return (summary) => summary.hidden.map((hidden) => [String(hidden.index / 2), figure(hidden)] as const);
}
