/// <reference lib="dom" />
// The program of the report page. scripts/bundle.mjs puts it into one file, with the parts of ECharts that it uses.
import { redraw, resize, start } from './charts.ts';
import { followTraining } from './live.ts';
import { followTheme } from './theme.ts';

const charts = JSON.parse(document.getElementById('charts')?.textContent ?? '{}');
let resizing = 0;
addEventListener('resize', () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(resize);
});
start(charts);
followTheme(redraw);
const { live, version = '' } = document.body.dataset;
if (live !== undefined) followTraining(live, version, charts);
