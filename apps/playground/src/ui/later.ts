/** Milliseconds after which the page's thread is given back. */
const SLICE = 10;

const jobs = new Set<() => void>();
let waiting = false;

/** Runs a job soon, with others in short slices, so that many of them never hold the page. Returns what calls it off. */
export function later(job: () => void): () => void {
  jobs.add(job);
  if (!waiting) {
    waiting = true;
    setTimeout(runSlice);
  }
  return () => jobs.delete(job);
}

function runSlice(): void {
  const end = performance.now() + SLICE;
  for (const job of jobs) {
    jobs.delete(job);
    job();
    if (performance.now() > end) break;
  }
  waiting = jobs.size > 0;
  if (waiting) setTimeout(runSlice);
}
