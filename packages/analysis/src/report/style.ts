import { MAP_COLORS } from '../maps.ts';
import { kindColors } from './kinds.ts';

/** Declarations of the colours of attention maps. */
function mapColors(page: 'light' | 'dark'): string {
  const { zero, stops } = MAP_COLORS[page];
  return [`--map-zero: ${zero};`, ...stops.map((stop, n) => `--map-${n}: ${stop};`)].join(' ');
}

const LIGHT = `
  color-scheme: light;
  --paper: #f6f7f9; --surface: #ffffff; --ink: #17202b; --ink-soft: #556270; --line: #dde2e8; --accent: #0b5cad;
  --good: #176639; --good-back: #dff3e6; --bad: #9c1f2e; --bad-back: #fbe3e5; --open: #56606b; --open-back: #e8ebef;
  --subject: #0b62c4; --zoom: rgb(11 92 173 / 0.14);
  --heat-sparsity-0: #eef2f7; --heat-sparsity-1: #b9d2f0; --heat-sparsity-2: #5f97d8; --heat-sparsity-3: #0b4c9c;
  --heat-sink-0: #f7f0ee; --heat-sink-1: #f2b9a8; --heat-sink-2: #de6f58; --heat-sink-3: #9b2418; --on-heat: #ffffff;
  ${mapColors('light')}`;

const DARK = `
  color-scheme: dark;
  --paper: #10151b; --surface: #181f27; --ink: #e9eef4; --ink-soft: #a3b0bd; --line: #2f3a46; --accent: #7db8ff;
  --good: #8fe0ad; --good-back: #173425; --bad: #ffa5ae; --bad-back: #44191f; --open: #b6c0ca; --open-back: #2a333d;
  --subject: #58a6ff; --zoom: rgb(125 184 255 / 0.2);
  --heat-sparsity-0: #1f2833; --heat-sparsity-1: #244a75; --heat-sparsity-2: #2f78c4; --heat-sparsity-3: #6db4ff;
  --heat-sink-0: #262322; --heat-sink-1: #6b3329; --heat-sink-2: #b9503d; --heat-sink-3: #ff8d78; --on-heat: #0c1116;
  ${mapColors('dark')}`;

const HEADS = ['#3b82d0', '#d1653b', '#2f9e77', '#a45fc4', '#b8890b', '#d14b7d', '#6b7f8f', '#5a9a2c'];

/** All of the page's CSS. Colours are variables, which the charts read too. */
export const pageStyle = () => `
:root { ${LIGHT} ${kindColors('light')} ${HEADS.map((color, head) => `--head-${head}: ${color};`).join(' ')}
  font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif; font-size: 16px; line-height: 1.5; }
:root[data-theme='dark'] { ${DARK} ${kindColors('dark')} }
@media (prefers-color-scheme: dark) { :root:not([data-theme]) { ${DARK} ${kindColors('dark')} } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); }
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 clamp(0.9rem, 3vw, 2rem); }
header { padding-top: 2rem; }
.title { display: flex; justify-content: space-between; align-items: start; gap: 1rem; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.3rem); line-height: 1.15; letter-spacing: -0.02em; margin: 0; text-wrap: balance; }
h2 { font-size: 1.45rem; letter-spacing: -0.01em; margin: 2.5rem 0 1rem; }
h3 { font-size: 1.12rem; margin: 0 0 0.3rem; }
h4 { font-size: 0.92rem; margin: 0; font-weight: 600; }
a { color: var(--accent); }
.lead, .reading { color: var(--ink-soft); max-width: 48rem; margin: 0.6rem 0 1rem; }
.reading { overflow-wrap: anywhere; font-size: 0.92rem; }
small { color: var(--ink-soft); font-size: 0.78em; font-weight: 400; }
button, select { font: inherit; font-size: 0.85rem; color: var(--ink); background: var(--surface); border: 1px solid var(--line);
  border-radius: 0.5rem; padding: 0.3rem 0.7rem; cursor: pointer; min-height: 2rem; }
button:hover, select:hover { border-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 0.3rem; }
.skip { position: absolute; left: -100vw; } .skip:focus { left: 1rem; top: 1rem; background: var(--surface); padding: 0.5rem 1rem; z-index: 9; }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0.4rem; padding: 0; margin: 1rem 0; }
nav a { display: block; padding: 0.25rem 0.75rem; border: 1px solid var(--line); border-radius: 2rem; background: var(--surface);
  text-decoration: none; font-size: 0.85rem; }
nav a:hover { border-color: var(--accent); }
.note { border: 1px solid var(--line); border-left: 4px solid var(--bias-only); background: var(--surface); border-radius: 0.6rem; padding: 0.6rem 1rem; }
.note ul { margin: 0; padding-left: 1.1rem; }
.live { display: inline-block; margin: 0; font-size: 0.85rem; background: var(--good-back); color: var(--good); padding: 0.2rem 0.8rem; border-radius: 2rem; }
.tiles { list-style: none; padding: 0; margin: 0 0 1.5rem; display: grid; gap: 0.8rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.4rem), 1fr)); }
.tiles li { background: var(--surface); border: 1px solid var(--line); border-radius: 0.9rem; padding: 1rem 1.2rem; display: flex; flex-direction: column; }
.tiles strong { font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; color: var(--subject); }
.tiles span { font-size: 0.92rem; }
.tiles small { margin-top: 0.35rem; font-size: 0.8rem; }
.verdicts { list-style: none; padding: 0; margin: 0.5rem 0 1.5rem; display: grid; gap: 0.6rem; }
.verdicts li { display: grid; grid-template-columns: 5rem 1fr; gap: 0.8rem; align-items: start; font-size: 0.92rem; }
.verdict { text-align: center; border-radius: 2rem; font-size: 0.8rem; font-weight: 600; padding: 0.15rem 0.5rem; color: var(--open); background: var(--open-back); }
.verdict.true { color: var(--good); background: var(--good-back); }
.verdict.false { color: var(--bad); background: var(--bad-back); }
.scroll { overflow-x: auto; background: var(--surface); border: 1px solid var(--line); border-radius: 0.9rem; margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: 0.7rem 1rem 0.2rem; color: var(--ink-soft); font-size: 0.82rem; }
th, td { padding: 0.5rem 0.9rem; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; color: var(--ink-soft); font-weight: 600; font-size: 0.8rem; vertical-align: bottom; white-space: normal; min-width: 5.5rem; }
thead small { display: block; }
th:first-child, td:first-child { text-align: left; }
tbody th small, tfoot th small, .headline td small { display: block; }
tr.ours { background: color-mix(in srgb, var(--subject) 9%, transparent); }
tfoot { color: var(--ink-soft); } tfoot th { font-weight: 600; }
.headline th:first-child { position: sticky; left: 0; background: var(--surface); }
.headline tr.ours th:first-child { background: color-mix(in srgb, var(--subject) 9%, var(--surface)); }
td code { font-size: 0.78rem; }
.dot { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 50%; margin-right: 0.5em; }
.group { margin-top: 2.4rem; scroll-margin-top: 1rem; }
.charts { display: grid; gap: 1rem; }
.charts.half { grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); }
.charts.map { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.6rem), 1fr)); }
.charts.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 13.2rem), 1fr)); }
figure { margin: 0; background: var(--surface); border: 1px solid var(--line); border-radius: 0.9rem; padding: 0.8rem 0.9rem; min-width: 0; }
figcaption { display: flex; justify-content: space-between; align-items: center; gap: 0.5rem; margin-bottom: 0.4rem; }
figcaption h4 { margin-right: auto; }
figcaption button[aria-pressed='true'] { color: var(--accent); border-color: var(--accent); }
figcaption button { padding: 0.1rem 0.55rem; font-size: 0.75rem; color: var(--ink-soft); min-height: 1.7rem; }
.chart { width: 100%; min-width: 0; overflow: hidden; }
.choice select { min-width: 0; max-width: 100%; }
.choice { display: flex; flex-wrap: wrap; gap: 0.6rem; align-items: center; font-size: 0.9rem; margin: 0 0 0.8rem; }
details { font-size: 0.85rem; margin-top: 0.4rem; } summary { cursor: pointer; color: var(--ink-soft); width: max-content; max-width: 100%; }
details.group { font-size: 1rem; margin-top: 1rem; border-top: 1px solid var(--line); padding-top: 0.8rem; }
details.group > summary { color: var(--ink); width: auto; } details.group > summary h3 { display: inline; }
details .scroll { max-height: 18rem; overflow: auto; margin: 0.4rem 0 0; border-radius: 0.5rem; } details td, details th { padding: 0.25rem 0.6rem; }
blockquote { margin: 0; font-family: Georgia, 'DejaVu Serif', serif; font-size: 0.95rem; white-space: pre-wrap; overflow-wrap: anywhere; }
pre { background: var(--surface); border: 1px solid var(--line); border-radius: 0.7rem; padding: 0.8rem 1rem; overflow-x: auto; font-size: 0.85rem; }
dl { display: grid; gap: 0.3rem 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); font-size: 0.9rem; }
dl div { display: grid; grid-template-columns: 8rem 1fr; gap: 0.5rem; } dt { color: var(--ink-soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { color: var(--ink-soft); font-size: 0.85rem; padding-top: 2rem; padding-bottom: 3rem; }
[hidden] { display: none !important; }
@media (min-width: 60rem) { .tiles { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 40rem) {
  .charts.map, .charts.small { display: flex; overflow-x: auto; position: relative; scroll-snap-type: x proximity; }
  .charts.map figure, .charts.small figure { flex: 0 0 86%; scroll-snap-align: start; }
  .tiles li { padding: 0.8rem 0.9rem; } .tiles strong { font-size: 1.5rem; }
  nav ul { flex-wrap: nowrap; overflow-x: auto; padding: 0.3rem 0; } nav a { white-space: nowrap; } }
@media print { button, nav, .choice { display: none; } figure { break-inside: avoid; } }
`;
