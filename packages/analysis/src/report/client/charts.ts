/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import { BarChart, HeatmapChart, LineChart, ScatterChart } from 'echarts/charts';
import {
  DataZoomComponent,
  GridComponent,
  LegendScrollComponent,
  MarkLineComponent,
  TooltipComponent,
  VisualMapComponent,
} from 'echarts/components';
import { type ECharts, init, use } from 'echarts/core';
import { CanvasRenderer } from 'echarts/renderers';
import type { ChartData } from '../charts/chart.ts';
import { FORMATTERS } from './formatters.ts';

use([BarChart, HeatmapChart, LineChart, ScatterChart, CanvasRenderer]);
use([DataZoomComponent, GridComponent, LegendScrollComponent, MarkLineComponent]);
use([TooltipComponent, VisualMapComponent]);

const alive = new Map<HTMLElement, ECharts>();
let charts: Record<string, ChartData> = {};

/** Takes over what the page holds: reads the charts' data, and draws each when it comes near the window. */
export function start(data: Record<string, ChartData>): void {
  charts = data;
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) draw(target as HTMLElement);
    },
    { rootMargin: '400px' },
  );
  for (const element of document.querySelectorAll<HTMLElement>('[data-chart]')) near.observe(element);
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-csv]')) {
    button.addEventListener('click', () => download(button.dataset.csv as string));
  }
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-zoom]')) {
    button.addEventListener('click', () => zoom(button));
  }
  for (const select of document.querySelectorAll<HTMLSelectElement>('select[data-group]')) {
    select.addEventListener('change', () => choose(select));
  }
}

/** Lets go of all charts, before their elements are replaced. */
export function forget(): void {
  for (const [element, chart] of alive) {
    delete element.dataset.drawn;
    chart.dispose();
  }
  alive.clear();
}

/** Draws all charts anew, in the colours of today's theme. */
export function redraw(): void {
  for (const element of alive.keys()) draw(element);
}

/** Fits all charts to their elements. */
export function resize(): void {
  for (const [element, chart] of alive) if (element.offsetWidth > 0) chart.resize();
}

function draw(element: HTMLElement): void {
  if (element.offsetWidth === 0) return; // hidden by a choice: drawn when it is shown
  const id = element.dataset.chart as string;
  const data = Object.hasOwn(charts, id) ? charts[id] : undefined;
  if (data === undefined) return;
  const drawn = alive.get(element) ?? begun(element);
  delete element.dataset.drawn;
  drawn.setOption(fill(data, getComputedStyle(document.documentElement)), true);
}

/** A chart on an element, which says `data-drawn` once all of it is painted: that takes a frame or more. */
function begun(element: HTMLElement): ECharts {
  const chart = init(element);
  chart.on('finished', () => {
    element.dataset.drawn = '';
  });
  alive.set(element, chart);
  return chart;
}

/** The option with today's colours and the functions that JSON cannot hold. */
function fill(chart: ChartData, style: CSSStyleDeclaration): Record<string, unknown> {
  const walk = (x: unknown): unknown => {
    if (typeof x !== 'object' || x === null) return x;
    if (Array.isArray(x)) return typeof x[0] === 'number' ? x : x.map(walk);
    if ('$css' in x) return style.getPropertyValue(String(x.$css)).trim();
    if ('$call' in x) return FORMATTERS[String(x.$call)](chart, (x as unknown as { args: string[] }).args);
    return Object.fromEntries(Object.entries(x).map(([key, of]) => [key, walk(of)]));
  };
  return walk(chart.option) as Record<string, unknown>;
}

/** From the whole curve to what follows its fall, and back. */
function zoom(button: HTMLButtonElement): void {
  const pressed = button.getAttribute('aria-pressed') !== 'true';
  button.setAttribute('aria-pressed', String(pressed));
  for (const [element, chart] of alive) {
    if (element.dataset.chart !== button.dataset.zoom) continue;
    chart.dispatchAction({ type: 'dataZoom', start: pressed ? Number(button.dataset.from) : 0, end: 100 });
  }
}

function choose(select: HTMLSelectElement): void {
  const shown = new Set(select.value.split(' '));
  const group = document.getElementById(select.dataset.group as string);
  for (const figure of group?.querySelectorAll<HTMLElement>('figure') ?? []) {
    const element = figure.querySelector<HTMLElement>('[data-chart]');
    if (element === null) continue;
    figure.hidden = !shown.has(element.dataset.chart as string);
    if (!figure.hidden) draw(element);
  }
}

function download(id: string): void {
  const { option, table } = charts[id];
  const rows = table.rows.length > 0 ? table.rows : (option.series as { data: unknown[][] }[])[0].data;
  const csv = [table.columns, ...rows].map((row) => row.map(quoted).join(',')).join('\n');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([`${csv}\n`], { type: 'text/csv' }));
  link.download = `${id}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function quoted(value: unknown): string {
  const text = value === null ? '' : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
