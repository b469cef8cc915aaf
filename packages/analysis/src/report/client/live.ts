/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
import type { ChartData } from '../charts/chart.ts';
import type { ReportChanges } from '../live.ts';
import { forget, start } from './charts.ts';

/** Follows a training run: takes over what has changed, so that neither scroll, theme nor opened tables are lost. */
export function followTraining(path: string, version: string, charts: Record<string, ChartData>): void {
  const line = document.createElement('p');
  line.className = 'live';
  const state = document.createElement('span');
  state.setAttribute('role', 'status');
  const progress = document.createElement('span');
  line.append(state, ' ', progress);
  document.querySelector('header')?.append(line);
  state.textContent = 'Running.';

  const events = new EventSource(`${path}?from=${encodeURIComponent(version)}`);
  events.addEventListener('progress', ({ data }) => {
    progress.textContent = String(JSON.parse(data));
  });
  events.addEventListener('changes', ({ data }) => {
    const changes = JSON.parse(data) as ReportChanges;
    Object.assign(charts, changes.charts);
    if (changes.main !== undefined) replaceMain(changes.main);
    forget();
    start(charts);
  });
  events.addEventListener('end', () => {
    events.close();
    state.textContent = 'Training has ended; this page stays as it is.';
    progress.textContent = '';
  });
  events.addEventListener('error', () => {
    state.textContent = 'The connection to the training is gone; this page shows what came last.';
    progress.textContent = '';
  });
}

function replaceMain(html: string): void {
  const main = new DOMParser().parseFromString(html, 'text/html').querySelector('main');
  if (main === null) return;
  const opened = [...document.querySelectorAll('details')].map((details) => details.open);
  document.querySelector('main')?.replaceWith(document.adoptNode(main));
  [...document.querySelectorAll('details')].forEach((details, n) => {
    details.open = opened[n] ?? false;
  });
}
