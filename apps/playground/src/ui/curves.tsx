import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Record } from '../record/format.ts';
import { frame, headPlace, shown } from '../state/store.ts';
import { theme } from '../state/theme.ts';
import { later } from './later.ts';
import { kindColor, kindLabel } from './palette.ts';

type Data = uPlot.AlignedData;

/** Of a plot, in pixels. */
const HEIGHT = 150;

/** The three curves of a training: loss, weight on the first token of the chosen head, sink rate. */
export function Curves() {
  const record = shown.value;
  if (record === null) return null;
  const { layer, head } = headPlace.value;
  const steps = record.frames.map(({ step }) => step);
  const ofHead = (side: 0 | 1) =>
    record.frames.map(
      ({ sides }) => sides[side]?.heads.find((of) => of.layer === layer && of.head === head)?.firstTokenWeight ?? null,
    );
  const rate = (side: 0 | 1) =>
    record.frames.map(({ sides }) => (sides[side] === null ? null : 100 * sides[side].sinkRate));
  return (
    <div class="curves">
      <p class="legend soft">
        {record.settings.kinds.map((kind, side) => (
          <span key={side}>
            <i style={{ background: kindColor(kind) }} />
            {kindLabel(kind)}
          </span>
        ))}
      </p>
      <Curve
        title={`Weight on the first token, head ${layer}.${head}, by step`}
        data={[steps, ofHead(0), ofHead(1)]}
        record={record}
        least={0.4}
      />
      <Curve
        title="Sink rate, % of the heads above 0.3, by step"
        data={[steps, rate(0), rate(1)]}
        record={record}
        least={50}
      />
      <Curve title="Loss after its fall, nats a token, by step" data={smoothed(record)} record={record} />
    </div>
  );
}

/** The range of a loss once its fall is over: what follows would be a flat line beside it. */
function afterFall([steps, ...curves]: Data): [number, number] {
  const count = steps.length;
  const from = count > 40 ? Math.ceil(count / 4) : 0;
  const late = curves.flatMap((curve) => Array.from(curve as ArrayLike<number>).slice(from));
  const [least, most] = [Math.min(...late), Math.max(...late)];
  return late.length === 0 ? [0, 1] : [least - 0.05 * (most - least), most + 0.05 * (most - least) + 1e-3];
}

/** Losses of single batches jump: a running mean, of the last tenth of what is there at most. */
function smoothed({ losses }: Record): Data {
  const smooth = (values: readonly number[]) => {
    let mean = values[0] ?? 0;
    return values.map((value, i) => {
      mean += (value - mean) / Math.min(i + 1, 8);
      return mean;
    });
  };
  return [losses.steps as number[], smooth(losses.values[0]), smooth(losses.values[1])];
}

interface CurveProps {
  readonly title: string;
  readonly data: Data;
  readonly record: Record;
  /** The axis reaches this at least, from 0. */
  readonly least?: number;
}

/** A line across the plot at a step. */
function drawMark(of: uPlot, step: number, colour: string): void {
  const x = Math.round(of.valToPos(step, 'x', true));
  of.ctx.strokeStyle = colour;
  of.ctx.beginPath();
  of.ctx.moveTo(x, of.bbox.top);
  of.ctx.lineTo(x, of.bbox.top + of.bbox.height);
  of.ctx.stroke();
}

interface PlotOptions {
  readonly kinds: readonly [string, string];
  readonly steps: number;
  readonly least: number | undefined;
  /** The step that is marked, now. */
  marked(): number;
}

/** An empty plot that fills an element. */
function newPlot(element: HTMLElement, { kinds: [left, right], steps, least, marked }: PlotOptions): uPlot {
  const style = getComputedStyle(element);
  const soft = style.getPropertyValue('--ink-soft');
  const axis: uPlot.Axis = {
    stroke: soft,
    grid: { stroke: style.getPropertyValue('--line'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui',
  };
  const series = (kind: string, dash?: number[]): uPlot.Series => ({
    label: kindLabel(kind),
    stroke: kindColor(kind),
    width: 2,
    points: { show: false },
    ...(dash && { dash }),
  });
  const range: uPlot.Scale.Range =
    least === undefined ? (of) => afterFall(of.data) : (_, __, most) => [0, Math.max(least, 1.05 * most)];
  return new uPlot(
    {
      width: element.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [0, steps] }, y: { range } },
      axes: [
        { ...axis, size: 24, space: 70 },
        { ...axis, size: 36, space: 32 },
      ],
      series: [{}, series(left), series(right, left === right ? [4, 4] : undefined)],
      hooks: { draw: [(of) => drawMark(of, marked(), soft)] },
    },
    [[], [], []],
    element,
  );
}

function Curve({ title, data, record, least }: CurveProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const marked = useRef(0);
  const latest = useRef(data);
  marked.current = frame.value?.step ?? 0;
  latest.current = data;
  const page = theme();
  const [left, right] = record.settings.kinds;
  const { steps } = record.settings;
  // Each plot in a slice of its own: three at once would hold the page.
  useEffect(() => {
    const element = place.current as HTMLDivElement;
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    const callOff = later(() => {
      plot.current = newPlot(element, { kinds: [left, right], steps, least, marked: () => marked.current });
      plot.current.setData(latest.current);
      resized.observe(element);
    });
    return () => {
      callOff();
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [page, left, right, least, steps]);
  useEffect(() => later(() => plot.current?.setData(data)));
  const last = (of: 1 | 2) => data[of].at(-1)?.toFixed(2) ?? 'none yet';
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <div
        ref={place}
        role="img"
        aria-label={`${title}: ${kindLabel(left)} ${last(1)}, ${kindLabel(right)} ${last(2)} at the end`}
      />
    </figure>
  );
}
