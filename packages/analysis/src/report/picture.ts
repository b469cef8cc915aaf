import type { AttentionMap } from '../metrics/summary.ts';
import { groupRuns } from './aggregate.ts';
import type { ReportData, ReportRun } from './data.ts';
import { escapeHtml } from './html.ts';
import { shownKind } from './kinds.ts';
import { checkReportData } from './schema.ts';

const SIZE = 420;
const GAP = 40;
const TOP = 74;
const BOTTOM = 74;
const LEVELS = 10;

/**
 * The report in one picture, as SVG for light and dark pages: the head of each model that looks most at the first token, softmax
 * and lazy side by side where both are there, with the figures of the whole model below.
 */
export function renderPicture(given: ReportData): string {
  const data = checkReportData(given);
  const [scenario] = groupRuns(data.runs);
  const shown = (scenario?.arms ?? [])
    .flatMap(({ name, kind, runs }) => {
      const run = runs.find(({ attention }) => attention !== null && attention.maps.length > 0);
      return run === undefined ? [] : [{ name, kind, run }];
    })
    .filter(({ kind }, _, all) => all.length <= 2 || ['reference', 'subject'].includes(shownKind(kind).role));
  const width = Math.max(1, shown.length) * (SIZE + GAP) + GAP;
  const height = TOP + SIZE + BOTTOM;
  const panels = shown.map(({ name, run }, n) => panel(name, run, GAP + n * (SIZE + GAP)));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(label(shown))}">
<style>${STYLE}</style>
<rect class="back" width="${width}" height="${height}" rx="14"/>
${panels.join('\n')}
</svg>
`;
}

function panel(name: string, run: ReportRun, x: number): string {
  const map = worstHead(run);
  const overall = run.attention?.overall;
  if (overall === undefined) return '';
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return `<g transform="translate(${x} 0)">
<text class="title" y="34">${escapeHtml(name)}</text>
<text class="soft" y="56">layer ${map.layer}, head ${map.head}: the head that looks most at the first token</text>
<g transform="translate(0 ${TOP}) scale(${(SIZE / map.weights.length).toFixed(4)})">${cells(map)}</g>
<text class="figures" y="${TOP + SIZE + 28}">${percent(overall.sparsity)} of all weights are exactly 0</text>
<text class="soft" y="${TOP + SIZE + 52}">first-token weight ${overall.firstTokenWeight.toFixed(3)} · sinks ${percent(overall.sinkRate['0.3'] ?? 0)}${run.final === null ? '' : ` · loss ${run.final.loss.toFixed(3)}`}</text>
</g>`;
}

/** One path per shade keeps the file small. */
function cells({ weights }: AttentionMap): string {
  const paths = Array.from({ length: LEVELS + 1 }, () => '');
  weights.forEach((row, i) => {
    row.forEach((w, j) => {
      const level = w === 0 ? 0 : Math.max(1, Math.min(LEVELS, Math.ceil(LEVELS * Math.sqrt(w))));
      paths[level] += `M${j} ${i}h.94v.94h-.94z`;
    });
  });
  return paths
    .map((path, level) =>
      path === ''
        ? ''
        : `<path class="${level === 0 ? 'zero' : 'weight'}"${level === 0 ? '' : ` opacity="${(0.12 + (0.88 * level) / LEVELS).toFixed(2)}"`} d="${path}"/>`,
    )
    .join('');
}

function worstHead({ attention }: ReportRun): AttentionMap {
  const maps = attention?.maps ?? [];
  const weight = ({ layer, head }: AttentionMap) =>
    attention?.layers.find((of) => of.layer === layer)?.heads.find((of) => of.head === head)?.firstTokenWeight ?? 0;
  return maps.reduce((worst, map) => (weight(map) > weight(worst) ? map : worst));
}

function label(shown: readonly { name: string; run: ReportRun }[]): string {
  const figures = shown.map(({ name, run }) => {
    const overall = run.attention?.overall;
    return `${name}: ${(100 * (overall?.sparsity ?? 0)).toFixed(1)} percent of the weights exactly 0, mean weight on the first token ${overall?.firstTokenWeight.toFixed(3)}`;
  });
  return `Attention maps on the same text. ${figures.join('. ')}.`;
}

const STYLE = `
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #17202b; }
.title { font-size: 22px; font-weight: 700; } .figures { font-size: 17px; font-weight: 600; } .soft { font-size: 13px; fill: #556270; }
.back { fill: #ffffff; } .zero { fill: #eee9dc; } .weight { fill: #0b3f8a; }
@media (prefers-color-scheme: dark) {
  text { fill: #e9eef4; } .soft { fill: #a3b0bd; } .back { fill: #181f27; } .zero { fill: #35322a; } .weight { fill: #9cc7ff; }
}`;
