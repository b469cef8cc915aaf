import { readFileSync } from 'node:fs';
import { groupRuns, type Scenario } from './aggregate.ts';
import { type Chart, type ChartGroup, slug } from './charts/chart.ts';
import { lossCurves } from './charts/curves.ts';
import { firstTokenByHead, sparsityByHead } from './charts/heads.ts';
import { learnedParameters } from './charts/learned.ts';
import { collapse, focus, sinkDetails, sinks } from './charts/lines.ts';
import { attentionMaps } from './charts/maps.ts';
import { PAPER, type ReportData, type ReportRun } from './data.ts';
import { headlineTable, keyFigures, trendTable, verdicts } from './headline.ts';
import { type Html, html, join, jsonScript, script, style, textOf } from './html.ts';
import type { RenderedReport } from './live.ts';
import { checkReportData } from './schema.ts';
import { pageStyle } from './style.ts';

/** Rows that a data table in the page may have; longer data is only downloaded. */
const TABLE_ROWS = 160;

/** Runs whose table stands open: more would be most of the page on a phone. */
const SHOWN_RUNS = 10;

/**
 * One HTML file that needs nothing else: styles, charts, data and the chart library are inside, and it asks the
 * network for nothing. Light and dark, from 360 pixels wide, usable by keyboard and screen reader.
 * @throws AnalysisError REPORT_DATA when the data is not what `ReportData` says
 */
export function renderReport(data: ReportData): string {
  return renderPieces(data).page;
}

/** As `renderReport`, with the pieces that a live page takes over. `version` is what the page says that it shows. */
export function renderPieces(given: ReportData, version = ''): RenderedReport {
  const data = checkReportData(given);
  const scenarios = groupRuns(data.runs);
  const parts = scenarios.map((scenario) => scenarioParts(scenario, data.live !== undefined));
  const charts = parts.flatMap(({ groups }) => groups.flatMap((group) => group.charts));
  const chartsById = Object.fromEntries(charts.map(({ id, option, table }) => [id, { option, table }]));
  const main = html`<main id="content">
${notes(data.notes)}
${navigation(parts)}
${scenarios.length > 1 ? html`<h2>Trend</h2>${trendTable(scenarios)}` : html``}
${join(parts.map(({ section }) => section))}
${provenance(data)}
</main>`;
  const program = pageProgram();
  const live = data.live === undefined ? html`` : html` data-live="${data.live}" data-version="${version}"`;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy(program.hash, data.live !== undefined)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${data.title}</title>
${style(pageStyle())}
</head>
<body${live}>
<a class="skip" href="#content">Skip to the figures</a>
<header>
  <div class="title"><h1>${data.title}</h1><button type="button" id="theme">Dark</button></div>
  <p class="lead">Softmax attention must spend all of its weight somewhere, and spends it on a sink. Lazy Attention may spend
  nothing: <a href="https://arxiv.org/abs/2601.00919">${PAPER.citation}</a>. This page holds what was measured here.</p>
</header>
${main}
<footer>Made by lazy-attention on ${data.generatedAt.slice(0, 16).replace('T', ' ')} UTC. Everything is in this one file; it loads nothing.</footer>
${jsonScript('charts', chartsById)}
${program.element}
</body>
</html>
`;
  return { page: textOf(page), main: textOf(main), charts: chartsById };
}

/**
 * No script runs but the page's own, and nothing is asked of the network; a live page asks its own server. Charts set
 * styles on their elements, which a policy cannot tell from others.
 */
function policy(scriptHash: string, live: boolean): string {
  const rules = ["default-src 'none'", `script-src ${scriptHash}`, "style-src 'unsafe-inline'", 'img-src data:'];
  return [...rules, ...(live ? ["connect-src 'self'"] : []), "base-uri 'none'", "form-action 'none'"].join('; ');
}

let bundled: ReturnType<typeof script> | undefined;

/** The page's program, read once. */
function pageProgram(): ReturnType<typeof script> {
  bundled ??= script(readFileSync(new URL('./page.client.js', import.meta.url), 'utf8'));
  return bundled;
}

interface ScenarioParts {
  readonly scenario: Scenario;
  readonly id: string;
  readonly groups: readonly ChartGroup[];
  readonly section: Html;
}

function scenarioParts(scenario: Scenario, live: boolean): ScenarioParts {
  const id = slug(scenario.name);
  const measured = scenario.arms.some(({ runs }) => runs.some(({ attention }) => attention !== null));
  const groups = [
    ...(measured ? [attentionMaps(scenario, id), sinks(scenario, id), firstTokenByHead(scenario, id)] : []),
    lossCurves(scenario, id),
    ...(measured
      ? [
          sparsityByHead(scenario, id),
          sinkDetails(scenario, id),
          learnedParameters(scenario, id),
          focus(scenario, id),
          collapse(scenario, id),
        ]
      : []),
  ].filter((group) => group !== null);
  const unmeasured = live
    ? 'Attention is shown from the first evaluation on.'
    : 'No run has a checkpoint, so attention could not be measured: only the losses are shown.';
  const section = html`<section class="scenario" id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${scenario.name}</h2>
${tiles(scenario)}
${verdictList(scenario)}
${headlineTable(scenario)}
${measured ? html`` : html`<p class="note">${unmeasured}</p>`}
${join(groups.map((group) => groupSection(group, scenario.name)))}
${samples(scenario)}
</section>`;
  return { scenario, id, groups, section };
}

function notes(lines: readonly string[]): Html {
  if (lines.length === 0) return html``;
  return html`<aside class="note" aria-label="Notes on these runs"><ul>${join(lines.map((line) => html`<li>${line}</li>`))}</ul></aside>`;
}

function navigation(parts: readonly ScenarioParts[]): Html {
  const links = parts.flatMap(({ scenario, id, groups }) =>
    parts.length > 1
      ? [html`<li><a href="#${id}">${scenario.name}</a></li>`]
      : groups.map((group) => html`<li><a href="#${group.id}">${group.title}</a></li>`),
  );
  return html`<nav aria-label="Sections"><ul>${join(links)}<li><a href="#provenance">Command and environment</a></li></ul></nav>`;
}

function tiles(scenario: Scenario): Html {
  const figures = keyFigures(scenario);
  if (figures.length === 0) return html``;
  return html`<ul class="tiles" aria-label="Lazy Attention at a glance">${join(
    figures.map(
      ({ value, label, beside }) =>
        html`<li><strong>${value}</strong><span>${label}</span><small>${beside}</small></li>`,
    ),
  )}</ul>`;
}

function verdictList(scenario: Scenario): Html {
  const list = verdicts(scenario);
  if (list.length === 0) return html``;
  const word = { true: 'met', false: 'not met', null: 'open' };
  return html`<h3>Expected, and found</h3><ul class="verdicts">${join(
    list.map(
      ({ claim, found, met }) =>
        html`<li><span class="verdict ${String(met)}">${word[`${met}`]}</span><span><b>${claim}</b><br>${found}</span></li>`,
    ),
  )}</ul>`;
}

function groupSection(group: ChartGroup, scenario: string): Html {
  if (group.charts.length === 0) return html``;
  const chosen = new Set(group.choice?.options[0]?.charts ?? group.charts.map(({ id }) => id));
  const charts = group.charts.map((chart) => figure(chart, chosen.has(chart.id), `${scenario}, ${group.title}`));
  // Narrow pages lay these out in a row that scrolls.
  const row =
    group.columns === 'half' ? html`` : html` tabindex="0" role="region" aria-label="${group.title}, ${scenario}"`;
  const inside = html`<p class="reading">${group.reading}</p>
${choice(group)}
<div class="charts ${group.columns}"${row}>${join(charts)}</div>`;
  return folded(group, inside);
}

function folded(group: Pick<ChartGroup, 'id' | 'title' | 'folded'>, inside: Html): Html {
  if (group.folded) {
    return html`<details class="group" id="${group.id}"><summary><h3>${group.title}</h3></summary>
${inside}
</details>`;
  }
  return html`<div class="group" id="${group.id}">
<h3>${group.title}</h3>
${inside}
</div>`;
}

function choice({ id, choice }: ChartGroup): Html {
  if (choice === undefined || choice.options.length < 2) return html``;
  const options = choice.options.map(
    ({ label, charts }) => html`<option value="${charts.join(' ')}">${label}</option>`,
  );
  return html`<p class="choice"><label for="${id}-choice">${choice.label}</label>
<select id="${id}-choice" data-group="${id}">${join(options)}</select></p>`;
}

function figure(chart: Chart, shown: boolean, within: string): Html {
  const size = chart.height === 'auto' ? 'aspect-ratio: 1' : `height: ${chart.height ?? '19rem'}`;
  return html`<figure id="figure-${chart.id}"${shown ? html`` : html` hidden`}>
<figcaption><h4>${chart.title}</h4>${zoomButton(chart, within)}<button type="button" data-csv="${chart.id}" aria-label="Download as CSV: ${within}, ${chart.title}">CSV</button></figcaption>
<div class="chart" data-chart="${chart.id}" role="img" aria-label="${chart.label}" style="${size}"></div>
${dataTable(chart, within)}
</figure>`;
}

function zoomButton({ id, title, zoomFrom }: Chart, within: string): Html {
  if (zoomFrom === undefined) return html``;
  return html`<button type="button" data-zoom="${id}" data-from="${zoomFrom}" aria-pressed="false" aria-label="After the fall: ${within}, ${title}">After the fall</button>`;
}

function dataTable({ title, table }: Chart, within: string): Html {
  if (table.rows.length === 0 || table.rows.length > TABLE_ROWS) return html``;
  const head = join(table.columns.map((column) => html`<th scope="col">${column}</th>`));
  const rows = table.rows.map((row) => html`<tr>${join(row.map((value) => html`<td>${value ?? '–'}</td>`))}</tr>`);
  return html`<details><summary>Figures<span class="sr"> of ${title} as a table</span></summary>
<div class="scroll" tabindex="0" role="region" aria-label="Figures of ${within}, ${title}"><table><thead><tr>${head}</tr></thead><tbody>${join(rows)}</tbody></table></div></details>`;
}

function samples({ arms, name }: Scenario): Html {
  const written = arms.flatMap(({ name: arm, runs }) => {
    const sample = runs.find((run) => run.sample !== null)?.sample;
    return sample == null
      ? []
      : [html`<figure><figcaption><h4>${arm}</h4></figcaption><blockquote>${sample}</blockquote></figure>`];
  });
  if (written.length === 0) return html``;
  const group = { id: `${slug(name)}-samples`, title: 'Text that the models wrote', folded: true } as const;
  return folded(group, html`<div class="charts half">${join(written)}</div>`);
}

function provenance(data: ReportData): Html {
  const row = (
    run: ReportRun,
  ) => html`<tr><th scope="row">${run.name}</th><td>${run.scenario}</td><td>${run.arm}</td><td>${run.seed}</td>
<td>${run.parameters.toLocaleString('en-US')}</td><td>${run.stepsDone} of ${run.steps}</td><td>${(run.stepsDone * run.tokensPerStep).toLocaleString('en-US')}</td><td>${minutes(run.seconds)}</td><td><code>${run.command}</code></td></tr>`;
  const runs = html`<div class="scroll" tabindex="0" role="region" aria-label="Runs, scrollable"><table><caption>Runs</caption><thead><tr>
<th scope="col">Run</th><th scope="col">Scenario</th><th scope="col">Attention</th><th scope="col">Seed</th><th scope="col">Parameters</th>
<th scope="col">Steps</th><th scope="col">Tokens</th><th scope="col">Training time</th><th scope="col">Command</th></tr></thead>
<tbody>${join(data.runs.map(row))}</tbody></table></div>`;
  return html`<section class="group" id="provenance" aria-labelledby="provenance-title">
<h2 id="provenance-title">Command and environment</h2>
<p>Made again by</p><pre tabindex="0" role="region" aria-label="Command">${data.command}</pre>
<dl>${join(data.environment.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`))}</dl>
${data.runs.length <= SHOWN_RUNS ? runs : html`<details><summary>${data.runs.length} runs</summary>${runs}</details>`}
</section>`;
}

function minutes(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`;
}
