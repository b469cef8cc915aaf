import { type Backend, CANDIDATES, createBackend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { catchInterrupt, type Interrupt } from '../cli/interrupt.ts';
import { openInBrowser } from '../cli/open.ts';
import { goOnWithoutReaders } from '../cli/pipes.ts';
import { MAP_LENGTH } from '../compare/collect.ts';
import { UsageError } from '../errors.ts';
import { type LivePage, serveLive } from '../live/server.ts';
import type { PlanOptions } from '../options/table.ts';
import { count } from '../output/format.ts';
import { createReporter, type Reporter } from '../output/reporter.ts';
import { summaryText } from '../output/summary.ts';
import { createRun, freeFolder, openRun, type RunFolder, replaceRecord } from '../run/folder.ts';
import { type FolderLock, lockFolder } from '../run/lock.ts';
import { readMetrics } from '../run/metrics.ts';
import type { RunRecord } from '../run/record.ts';
import { EMBEDDED, loadRunData, type Reading, sayProgress } from '../training/data.ts';
import { finishRun } from '../training/finish.ts';
import { refuseTooLarge } from '../training/memory.ts';
import { type Outlook, outlookOf, outlookText } from '../training/outlook.ts';
import { extended, planRun, refuseChanges, withIntervals } from '../training/plan.ts';
import { disposeSession } from '../training/session.ts';
import { together, train } from '../training/train.ts';

/** Options of `lazy-attention train` as commander gives them; what was not given is undefined. */
export interface TrainOptions extends PlanOptions {
  backend?: string;
  out?: string;
  resume?: boolean;
  /** A live page of the run in the browser. */
  open?: boolean;
  /** false: large data is not tokenised into a store. */
  store?: boolean;
  json?: boolean;
  /** Say what the run would take, and write nothing. */
  plan?: boolean;
}

/** `lazy-attention train [DATA]`; returns the exit code. */
export async function trainCommand(source: string | undefined, options: TrainOptions): Promise<number> {
  goOnWithoutReaders();
  const reporter = createReporter(options.json ? 'json' : 'auto');
  const say = (line: string) => reporter.say(line);
  let started: Started | null = null;
  const interrupt = catchInterrupt(() =>
    say(started === null ? 'Stopping.' : 'Stopping after this step; once more to stop at once.'),
  );
  try {
    const cache = options.store === false || options.plan ? {} : { cache: say };
    const reading = { signal: interrupt.signal, onProgress: sayProgress(say), ...cache };
    if (options.plan) return await planOnly(source, options, reading);
    started = await (options.resume ? resume : begin)(source, options, reporter, reading);
    return await runToEnd(started, options, reporter, interrupt);
  } catch (error) {
    if (started !== null || error !== interrupt.signal.reason) throw error;
    say('Stopped before the first step; nothing was written.');
    return interrupt.exitCode();
  } finally {
    interrupt.end();
    reporter.close();
    started?.lock.release();
    await started?.backend.dispose();
  }
}

/** `train --plan`: what the run would take. Nothing is written. */
async function planOnly(source: string | undefined, options: TrainOptions, reading: Reading): Promise<number> {
  if (options.resume)
    throw new UsageError('train: --plan does not go with --resume, which says the same when it begins');
  const backend = await createBackend(options.backend ?? 'auto');
  try {
    const { record, memory } = await planRun(backend, source ?? EMBEDDED, options, reading);
    const outlook = await outlookOf(backend, record, memory);
    console.log(options.json ? JSON.stringify({ type: 'plan', ...outlook }) : outlookText(outlook));
    return 0;
  } finally {
    await backend.dispose();
  }
}

interface Started {
  readonly lock: FolderLock;
  readonly backend: Backend;
  readonly folder: RunFolder;
  readonly record: RunRecord;
  readonly dataset: Dataset;
}

/** A new run: everything is checked before the folder is made. */
async function begin(
  source: string | undefined,
  options: TrainOptions,
  reporter: Reporter,
  reading: Reading,
): Promise<Started> {
  const backend = await createBackend(options.backend ?? 'auto');
  try {
    const { record, dataset, memory } = await planRun(backend, source ?? EMBEDDED, options, reading);
    const outlook = await outlookOf(backend, record, memory);
    reading.signal?.throwIfAborted();
    const out = options.out ?? freeFolder(`runs/${record.preset}-${record.model.attention}`);
    const folder = createRun(out, record);
    const lock = lockFolder(folder.path);
    announce(reporter, backend, record, dataset, outlook, `into ${out}`);
    return { backend, folder, record, dataset, lock };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

/** The run in --out, as it was started. An option that would change what it computes is refused, not ignored. */
async function resume(
  source: string | undefined,
  options: TrainOptions,
  reporter: Reporter,
  reading: Reading,
): Promise<Started> {
  if (options.out === undefined) throw new UsageError('train: --resume needs the folder of the run: --out FOLDER');
  const { folder, record: recorded } = openRun(options.out);
  refuseChanges('train', source, { ...options, steps: undefined }, recorded);
  const record = extended(withIntervals(recorded, options), options.steps);
  const lock = lockFolder(folder.path);
  let backend: Backend | undefined;
  try {
    backend = await createBackend(resumeOn('train', options.backend, record, (line) => reporter.say(line)));
    const memory = refuseTooLarge(backend, record);
    const dataset = await loadRunData(record, reading);
    const outlook = await outlookOf(backend, record, memory, stepsDone(folder));
    reading.signal?.throwIfAborted();
    if (record.training !== recorded.training) {
      replaceRecord(folder, { ...recorded, training: record.training });
      reporter.say(extension(record));
    }
    announce(reporter, backend, record, dataset, outlook, `on with ${options.out}`);
    return { backend, folder, record, dataset, lock };
  } catch (error) {
    lock.release();
    await backend?.dispose();
    throw error;
  }
}

/** What the steps after those that the run was started with do. */
function extension({ training }: RunRecord): string {
  const { steps, scheduleSteps = steps, learningRate, floor } = training;
  return `Extended to ${steps} steps: those after step ${scheduleSteps} keep the schedule's last learning rate, ${Number((learningRate * floor).toPrecision(6))}`;
}

/** Losses go on exactly only on the backend that they began on, so that is the one to resume on unless another is named. */
export function resumeOn(
  command: string,
  asked: string | undefined,
  record: RunRecord,
  say: (line: string) => void,
): string {
  const { backend } = record.environment;
  if (asked === undefined && !CANDIDATES.some(({ name }) => name === backend)) {
    // Loading a backend runs its package, so a file alone may not choose one.
    throw new UsageError(
      `${command}: the run was started on backend '${backend}', which is not one of this project's; name it with --backend to load that package`,
    );
  }
  if (asked !== undefined && asked !== backend) {
    say(`${command}: the run was started on backend '${backend}'; on '${asked}' its losses will differ by rounding`);
  }
  return asked ?? backend;
}

async function runToEnd(
  { backend, folder, record, dataset }: Started,
  options: TrainOptions,
  reporter: Reporter,
  interrupt: Interrupt,
): Promise<number> {
  const live = options.open ? await showLive(folder, record, dataset, reporter) : null;
  const outcome = await train(backend, record, folder, dataset, {
    resume: options.resume === true,
    listener: live === null ? reporter : together(reporter, live.listener),
    signal: interrupt.signal,
    mapLength: live === null ? undefined : MAP_LENGTH,
  }).catch((error) => {
    live?.close();
    throw error;
  });
  const stopped = () => {
    const at = outcome.session.step;
    reporter.say(`Saved at step ${at}. Go on with: lazy-attention train --resume --out ${folder.path}`);
    return interrupt.exitCode();
  };
  try {
    if (outcome.interrupted) return stopped();
    const { prompt, sample, summary } = await finishRun(outcome, folder, dataset, interrupt.signal);
    reporter.close();
    reporter.result(summary, summaryText(record, outcome.evaluation, prompt, sample, folder.path));
    await live?.finish(backend, folder.report);
    return 0;
  } catch (error) {
    if (interrupt.signal.aborted) return stopped();
    throw error;
  } finally {
    live?.close();
    disposeSession(outcome.session);
  }
}

async function showLive(folder: RunFolder, record: RunRecord, dataset: Dataset, reporter: Reporter): Promise<LivePage> {
  const live = await serveLive(folder, record, dataset);
  reporter.say(`Live page: ${live.address} (in the end also ${folder.report})`);
  openInBrowser(live.address);
  return live;
}

/** Steps that the run has recorded; those after its last checkpoint are made again. */
function stepsDone(folder: RunFolder): number {
  return readMetrics(folder.metrics).metrics.at(-1)?.step ?? 0;
}

function announce(
  reporter: Reporter,
  backend: Backend,
  record: RunRecord,
  dataset: Dataset,
  outlook: Outlook,
  where: string,
): void {
  reporter.say(
    `Training ${record.preset} (${record.model.attention} attention) on ${dataset.corpus.name}, ${count(dataset.train.length)} tokens, ${where}\n` +
      `Backend ${backend.name}: ${backend.device}\n${outlookText(outlook)}`,
  );
}
