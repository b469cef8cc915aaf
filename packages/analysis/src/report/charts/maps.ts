import { mapShade } from '../../maps.ts';
import type { Arm, Scenario } from '../aggregate.ts';
import type { ReportRun } from '../data.ts';
import { axis, type Chart, type ChartGroup, call, css, frame, slug, TOOLTIP } from './chart.ts';

/** Heads whose maps are in the page: each holds about a thousand weights per model. */
const MOST_HEADS = 16;

/** Attention maps of every arm on the same text, one head at a time. Of the first seed. */
export function attentionMaps({ arms }: Scenario, id: string): ChartGroup | null {
  const shown = arms.flatMap((arm) => {
    const run = arm.runs.find(({ attention }) => attention !== null && attention.maps.length > 0);
    return run === undefined ? [] : [{ arm, run }];
  });
  if (shown.length === 0) return null;
  const heads = tellingHeads(shown.map(({ run }) => run));
  const charts = shown.flatMap(({ arm, run }) => mapCharts(arm, run, id, heads));
  return {
    id: `${id}-maps`,
    title: 'Attention maps',
    reading: `One row per query, one column per key, on the same text: “${run0Text(shown[0].run)}”. Dark is a large weight; the flat tint is a weight of exactly 0; nothing is drawn above the diagonal, where keys lie in the future.`,
    columns: 'map',
    charts,
    choice: {
      label: 'Head, strongest sink first',
      options: heads.map(({ layer, head, sink }) => ({
        label: `layer ${layer}, head ${head}: up to ${(100 * sink).toFixed(0)} % on one position`,
        charts: shown.map(({ arm }) => mapId(id, arm, layer, head)),
      })),
    },
  };
}

interface TellingHead {
  readonly layer: number;
  readonly head: number;
  /** Largest mean weight on one position, in the model where it is largest. */
  readonly sink: number;
}

/** The heads whose maps are shown: those with the strongest sink in any of the models. */
function tellingHeads(runs: readonly ReportRun[]): TellingHead[] {
  const sinkOf = ({ attention }: ReportRun, layer: number, head: number) =>
    attention?.layers.find((of) => of.layer === layer)?.heads.find((of) => of.head === head)?.strongestPositionWeight ??
    0;
  return (runs[0].attention?.maps ?? [])
    .map(({ layer, head }) => ({ layer, head, sink: Math.max(...runs.map((run) => sinkOf(run, layer, head))) }))
    .sort((a, b) => b.sink - a.sink)
    .slice(0, MOST_HEADS);
}

function mapCharts(arm: Arm, run: ReportRun, id: string, heads: readonly TellingHead[]): Chart[] {
  const maps = (run.attention?.maps ?? []).filter((map) =>
    heads.some(({ layer, head }) => layer === map.layer && head === map.head),
  );
  return maps.map(({ layer, head, weights }) => {
    const length = weights.length;
    const tokens = Array.from({ length }, (_, i) => visible(run.mapTokens[i] ?? `token ${i}`));
    // [key, query, colour, weight]: the colour is the square root, so that small weights are seen at all.
    const cells = weights.flatMap((row, i) => row.map((w, j) => [j, i, colour(w), Number(w.toPrecision(3))]));
    const zeros = cells.filter(([, , , w]) => w === 0).length;
    const hidden = { type: 'category', data: tokens, axisLabel: { show: false }, splitLine: { show: false } };
    return {
      id: mapId(id, arm, layer, head),
      title: arm.name,
      label: `${arm.name}, layer ${layer}, head ${head}: ${length} by ${length} attention weights, ${((100 * zeros) / cells.length).toFixed(0)} percent of them exactly 0.`,
      height: 'auto',
      option: frame({
        legend: { show: false },
        grid: { left: 26, right: 6, top: 6, bottom: 26 },
        tooltip: { trigger: 'item', confine: true, ...TOOLTIP, formatter: call('map') },
        xAxis: axis('key', { ...hidden, nameGap: 8 }),
        yAxis: axis('query', { ...hidden, inverse: true, nameGap: 10 }),
        visualMap: {
          show: false,
          min: 0,
          max: 1,
          range: [1e-6, 1],
          dimension: 2,
          inRange: { color: [0, 1, 2, 3].map((stop) => css(`--map-${stop}`)) },
          outOfRange: { color: [css('--map-zero')] },
        },
        series: [
          { type: 'heatmap', data: cells, progressive: 0, emphasis: { itemStyle: { borderColor: css('--ink') } } },
        ],
      }),
      // The page takes the rows from the picture's own cells.
      table: { columns: ['key', 'query', 'square root of weight', 'weight'], rows: [] },
    };
  });
}

function mapId(id: string, arm: Arm, layer: number, head: number): string {
  return `${id}-map-${slug(arm.name)}-${layer}-${head}`;
}

/** Three digits: enough for a colour. */
function colour(w: number): number {
  return Number(mapShade(w).toFixed(3));
}

function run0Text(run: ReportRun): string {
  return run.mapTokens.map(visible).join('').replaceAll('␣', ' ');
}

/** Characters that would not be seen, made visible. */
function visible(token: string): string {
  return token.replaceAll(' ', '␣').replaceAll('\n', '⏎').replaceAll('\t', '⇥');
}
