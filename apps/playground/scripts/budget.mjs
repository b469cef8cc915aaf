// What the page weighs, asserted by `node scripts/budget.mjs` and by the tests, and how long its thread is held, by the tests.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

/** Bytes as a host sends them: gzip, but for what is packed already. */
export const FIRST_VIEW = 300_000;
export const WHOLE_PAGE = 1_000_000;

/** Trained weights are models, which come when one is looked into; the licences of what is inside no page loads. */
const APART = /\.safetensors$|^licenses\.txt$/;

/** { path: bytes } of the built page, compressed. */
function weigh(dist) {
  const files = readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const bytes = readFileSync(path);
      return [path.slice(dist.length + 1), path.endsWith('.gz') ? bytes.length : gzipSync(bytes, { level: 6 }).length];
    }),
  );
}

/** Bytes of the first view and of the whole page without models. */
export function budget(dist) {
  const sizes = Object.entries(weigh(dist)).filter(([path]) => !APART.test(path));
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  const sum = (of) => of.reduce((total, [, bytes]) => total + bytes, 0);
  const first = sizes.filter(([path]) => path === 'index.html' || html.includes(path));
  return { first: sum(first), whole: sum(sizes), sizes };
}

/** Milliseconds of processor time that no task of the page's thread may take. */
export const LONGEST_TASK = 50;

/**
 * Milliseconds of the longest task on the page's thread while `work` runs: its processor time, which other programs on the machine
 * leave alone. What the tests ask of the page is in it too. One page at a time.
 *
 * @throws Error when the trace has no processor time, which would pass any limit
 */
export async function longestTask(page, work) {
  const browser = page.context().browser();
  await browser.startTracing(page, { categories: ['disabled-by-default-devtools.timeline'] });
  let trace;
  try {
    await work();
  } finally {
    trace = JSON.parse((await browser.stopTracing()).toString()).traceEvents;
  }
  const threads = trace.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain');
  const onPage = new Set(threads.map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = trace.filter(({ name, pid, tid }) => name === 'RunTask' && onPage.has(`${pid} ${tid}`));
  const processor = Math.max(0, ...tasks.map(({ tdur = 0 }) => tdur)) / 1000;
  if (processor === 0) throw new Error('the trace has no processor time of the page: is this Chromium?');
  return { count: tasks.length, processor };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { first, whole, sizes } = budget(fileURLToPath(new URL('../dist', import.meta.url)));
  for (const [path, bytes] of sizes) console.log(`${String(bytes).padStart(8)}  ${path}`);
  console.log(`first view ${first} of ${FIRST_VIEW} bytes, whole page ${whole} of ${WHOLE_PAGE}`);
  if (first > FIRST_VIEW || whole > WHOLE_PAGE) process.exit(1);
}
