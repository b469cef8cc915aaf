/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
// The program of the report page. It stands in the page as it is compiled, so it imports nothing but types.
import type { ECharts } from 'echarts';

interface ChartData {
  readonly option: Readonly<Record<string, unknown>>;
  readonly table: { readonly columns: readonly string[]; readonly rows: readonly (readonly unknown[])[] };
}

interface Point {
  readonly value: readonly (number | string)[];
  readonly seriesName?: string;
}

declare const echarts: { init(element: HTMLElement): ECharts };

const alive = new Map<HTMLElement, ECharts>();
let charts: Record<string, ChartData> = {};

/** What a chart's option names as 'fn:x'. */
const FORMATTERS: Record<string, (chart: string) => (of: never) => string> = {
  number: () => (x: number | null) => (x === null || x === undefined ? '–' : String(Number(x.toPrecision(4)))),
  percent: () => (x: number | null) => (x === null || x === undefined ? '–' : `${Number(x.toPrecision(3))} %`),
  cell: () => (point: Point) => `layer ${point.value[1]}, head ${point.value[0]}: ${point.value[2]} %`,
  cellLabel: () => (point: Point) => String(Math.round(Number(point.value[2]))),
  tau: () => (point: Point) => `layer ${point.value[0]}, head ${point.value[2]}: τ = ${point.value[1]}`,
  map: (chart) => (point: Point) => {
    const tokens = (charts[chart].option.xAxis as { data: string[] }).data;
    const [key, query, , weight] = point.value.map(Number);
    const says = weight === 0 ? 'exactly 0' : String(weight);
    return `${query}: “${escapeText(tokens[query])}” attends<br>${key}: “${escapeText(tokens[key])}”<br><b>${says}</b>`;
  },
};

function start(): void {
  charts = JSON.parse(document.getElementById('charts')?.textContent ?? '{}');
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) draw(target as HTMLElement);
    },
    { rootMargin: '400px' },
  );
  for (const element of chartElements()) near.observe(element);
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-csv]')) {
    button.addEventListener('click', () => download(button.dataset.csv as string));
  }
  for (const select of document.querySelectorAll<HTMLSelectElement>('select[data-group]')) {
    select.addEventListener('change', () => choose(select));
  }
}

function chartElements(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>('[data-chart]')];
}

function draw(element: HTMLElement): void {
  if (element.offsetWidth === 0) return; // hidden by a choice: drawn when it is shown
  const chart = element.dataset.chart as string;
  const drawn = alive.get(element) ?? echarts.init(element);
  alive.set(element, drawn);
  drawn.setOption(resolve(charts[chart].option, chart, getComputedStyle(document.documentElement)), true);
}

/** The option with today's colours and the functions that JSON cannot hold. */
function resolve(value: unknown, chart: string, style: CSSStyleDeclaration): Record<string, unknown> {
  const walk = (x: unknown): unknown => {
    if (typeof x === 'string') {
      if (x === 'inherit') return style.fontFamily;
      const variable = /^var\((--[\w-]+)\)$/.exec(x);
      if (variable !== null) return style.getPropertyValue(variable[1]).trim();
      return x.startsWith('fn:') ? FORMATTERS[x.slice(3)](chart) : x;
    }
    if (typeof x === 'number' || typeof x !== 'object' || x === null) return x;
    if (Array.isArray(x)) return typeof x[0] === 'number' ? x : x.map(walk);
    return Object.fromEntries(Object.entries(x).map(([key, of]) => [key, walk(of)]));
  };
  return walk(value) as Record<string, unknown>;
}

function redraw(): void {
  for (const element of alive.keys()) draw(element);
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

function download(chart: string): void {
  const { option, table } = charts[chart];
  const rows = table.rows.length > 0 ? table.rows : (option.series as { data: unknown[][] }[])[0].data;
  const quote = (value: unknown) => {
    const text = value === null ? '' : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = [table.columns, ...rows].map((row) => row.map(quote).join(',')).join('\n');
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([`${csv}\n`], { type: 'text/csv' }));
  link.download = `${chart}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** The system's choice of light or dark until the reader makes one. */
function followTheme(): void {
  const button = document.getElementById('theme') as HTMLButtonElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen: boolean | null = null;
  const apply = () => {
    const dark = chosen ?? system.matches;
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    button.textContent = dark ? 'Light' : 'Dark';
    button.setAttribute('aria-label', dark ? 'Change to light colours' : 'Change to dark colours');
    redraw();
  };
  button.addEventListener('click', () => {
    chosen = !(chosen ?? system.matches);
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}

/** Fetches the page anew on each event and takes over what has changed, so that neither scroll nor theme is lost. */
function followTraining(path: string): void {
  const status = document.createElement('p');
  status.className = 'live';
  status.setAttribute('role', 'status');
  status.textContent = 'Live: follows the training.';
  document.querySelector('header')?.append(status);
  const events = new EventSource(path);
  events.addEventListener('update', async () => {
    const fresh = new DOMParser().parseFromString(await (await fetch(location.pathname)).text(), 'text/html');
    const main = fresh.querySelector('main');
    if (main === null) return;
    const opened = [...document.querySelectorAll('details')].map((details) => details.open);
    for (const chart of alive.values()) chart.dispose();
    alive.clear();
    document.querySelector('main')?.replaceWith(document.adoptNode(main));
    [...document.querySelectorAll('details')].forEach((details, n) => {
      details.open = opened[n] ?? false;
    });
    start();
  });
  events.addEventListener('end', () => {
    events.close();
    status.textContent = 'Training has ended; this page stays as it is.';
  });
  events.addEventListener('error', () => {
    status.textContent = 'The connection to the training is gone; this page shows what came last.';
  });
}

let resizing = 0;
addEventListener('resize', () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    for (const [element, chart] of alive) if (element.offsetWidth > 0) chart.resize();
  });
});
start();
followTheme();
if (document.body.dataset.live !== undefined) followTraining(document.body.dataset.live);
