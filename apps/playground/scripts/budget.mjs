// What the page weighs, asserted by `node scripts/budget.mjs` and by the tests, and how long its thread is held, by the tests.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

/** Bytes as a host sends them: gzip, but for what is packed already. */
export const FIRST_VIEW = 300_000;
export const WHOLE_PAGE = 1_000_000;

/** Trained weights are models; they come when a model is looked into. */
const MODEL = /\.safetensors$/;

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
  const sizes = Object.entries(weigh(dist)).filter(([path]) => !MODEL.test(path));
  const html = readFileSync(join(dist, 'index.html'), 'utf8');
  const sum = (of) => of.reduce((total, [, bytes]) => total + bytes, 0);
  const first = sizes.filter(([path]) => path === 'index.html' || html.includes(path));
  return { first: sum(first), whole: sum(sizes), sizes };
}

/** From here on the page notes tasks that hold its thread for 50 ms and more. */
export function watchTasks(page) {
  return page.evaluate(() => {
    globalThis.longTasks = [];
    globalThis.watchedFrom = performance.now();
    new PerformanceObserver((list) =>
      globalThis.longTasks.push(...list.getEntries().map(({ startTime, duration }) => ({ startTime, duration }))),
    ).observe({ type: 'longtask' });
  });
}

/**
 * Milliseconds of the longest task since `watchTasks`, and of the longest in the quietest third of that time; 0 where none took
 * 50. On a busy machine a thread waits in the middle of a task; what the page itself does too long is in every third.
 */
export function longestTask(page) {
  return page.evaluate(() => {
    const { longTasks, watchedFrom } = globalThis;
    const third = (performance.now() - watchedFrom) / 3;
    const longest = (tasks) => Math.max(0, ...tasks.map(({ duration }) => duration));
    const inThird = (n) => longTasks.filter(({ startTime }) => Math.floor((startTime - watchedFrom) / third) === n);
    return { all: longest(longTasks), quietest: Math.min(...[0, 1, 2].map((n) => longest(inThird(n)))) };
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { first, whole, sizes } = budget(fileURLToPath(new URL('../dist', import.meta.url)));
  for (const [path, bytes] of sizes) console.log(`${String(bytes).padStart(8)}  ${path}`);
  console.log(`first view ${first} of ${FIRST_VIEW} bytes, whole page ${whole} of ${WHOLE_PAGE}`);
  if (first > FIRST_VIEW || whole > WHOLE_PAGE) process.exit(1);
}
