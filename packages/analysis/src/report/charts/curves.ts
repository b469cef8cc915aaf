import { type Arm, type CurveBand, curveBand, type Scenario } from '../aggregate.ts';
import type { ReportRun } from '../data.ts';
import { shownKind } from '../kinds.ts';
import { armStyle, axis, type Chart, type ChartGroup, css, frame, type Option, short } from './chart.ts';

const POINTS = 120;
/** Percent of the steps in which the loss falls so far that later differences are not seen beside it. */
const AFTER_FALL = 20;
/** By the slider, by dragging, and by the wheel with Ctrl: the wheel alone scrolls the page. */
const ZOOM: readonly Option[] = [
  { type: 'inside', zoomOnMouseWheel: 'ctrl', moveOnMouseWheel: false, preventDefaultMouseMove: false },
  {
    type: 'slider',
    height: 18,
    bottom: 6,
    showDataShadow: false,
    borderColor: css('--line'),
    fillerColor: css('--zoom'),
    handleStyle: { color: css('--surface'), borderColor: css('--accent') },
    textStyle: { color: css('--ink-soft'), fontSize: 11 },
    brushSelect: false,
  },
];

/** Validation and training loss over steps: mean of the seeds, and the range that they span. */
export function lossCurves(scenario: Scenario, id: string): ChartGroup {
  return {
    id: `${id}-loss`,
    title: 'Loss while training',
    reading:
      'Nats per token; lower is better. Lines are means over the seeds, bands reach from the best to the worst of them. The training loss is averaged over neighbouring steps.',
    columns: 'half',
    charts: [
      curveChart(scenario.arms, `${id}-validation-loss`, 'Validation loss', (run) => run.validation, true),
      curveChart(scenario.arms, `${id}-training-loss`, 'Training loss', (run) => run.training, false),
    ],
  };
}

function curveChart(
  arms: readonly Arm[],
  id: string,
  title: string,
  of: (run: ReportRun) => ReportRun['training'],
  symbols: boolean,
): Chart {
  const curves = arms.map((arm) => ({ arm, band: curveBand(arm.runs.map(of), POINTS) }));
  return {
    id,
    title,
    label: `${title} by step. ${curves
      .filter(({ band }) => band.length > 0)
      .map(({ arm, band }) => `${arm.name} ends at ${band[band.length - 1].mean.toFixed(3)}`)
      .join('; ')}.`,
    zoomFrom: AFTER_FALL,
    option: frame(
      {
        grid: { left: 56, right: 16, top: 40, bottom: 78 },
        xAxis: axis('step', { type: 'value', min: 0, max: 'dataMax', splitLine: { show: false } }),
        yAxis: axis('', { type: 'value', scale: true }),
        series: curves.flatMap(({ arm, band }) => bandSeries(arm, arms, band, symbols)),
        dataZoom: ZOOM,
      },
      ['step', 'nats per token'],
    ),
    table: {
      columns: ['arm', 'step', 'mean', 'lowest', 'highest'],
      rows: curves.flatMap(({ arm, band }) =>
        band.map(({ step, mean, low, high }) => [arm.name, step, short(mean, 6), short(low, 6), short(high, 6)]),
      ),
    },
  };
}

/** The line, and below it two stacked areas of which only the upper is painted: the band. */
function bandSeries(arm: Arm, arms: readonly Arm[], band: readonly CurveBand[], symbols: boolean): Option[] {
  const { color, symbol, dash } = armStyle(arm, arms);
  const line: Option = {
    name: arm.name,
    type: 'line',
    symbol,
    symbolSize: 7,
    showSymbol: symbols && band.length <= 30,
    itemStyle: { color },
    lineStyle: { color, width: 2, type: dash },
    data: band.map(({ step, mean }) => [step, short(mean, 5)]),
    z: shownKind(arm.kind).role === 'subject' ? 4 : 3,
  };
  if (band.every(({ low, high }) => low === high)) return [line];
  const area = { type: 'line', stack: arm.name, symbol: 'none', silent: true, tooltip: { show: false }, z: 1 };
  return [
    line,
    { ...area, lineStyle: { opacity: 0 }, data: band.map(({ step, low }) => [step, short(low, 5)]) },
    {
      ...area,
      lineStyle: { opacity: 0 },
      areaStyle: { color, opacity: 0.16 },
      data: band.map(({ step, low, high }) => [step, short(high - low, 5)]),
    },
  ];
}
