import { setTimeout as sleep } from 'node:timers/promises';
import { type Backend, CANDIDATES, createBackend, LazyAttentionError } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import type { Communicator } from '@lazy-attention/nn';
import { checkpointState, latestCheckpoint } from '@lazy-attention/nn/node';
import { catchInterrupt, type Interrupt } from '../cli/interrupt.ts';
import { openInBrowser } from '../cli/open.ts';
import { goOnWithoutReaders } from '../cli/pipes.ts';
import { MAP_LENGTH } from '../compare/collect.ts';
import { UsageError } from '../errors.ts';
import { type LivePage, serveLive } from '../live/server.ts';
import { readConfig } from '../options/config-file.ts';
import type { PlanOptions } from '../options/table.ts';
import { count } from '../output/format.ts';
import { createReporter, type Reporter } from '../output/reporter.ts';
import { summaryText } from '../output/summary.ts';
import { broadcastText, introduction, joinRanks, leaderFirst } from '../ranks/join.ts';
import { requireSame, requireSameProgram, requireShare } from '../ranks/same.ts';
import { metricExports } from '../run/exports.ts';
import { createRun, freeFolder, openRun, type RunFolder, replaceRecord, runFolder } from '../run/folder.ts';
import { type FolderLock, lockFolder } from '../run/lock.ts';
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
  /** A recipe: options in a file. */
  config?: string;
  /** Say what the run would take, and write nothing. */
  plan?: boolean;
  /** The command line itself says --steps, so that a run that --stop-after ended trains on. */
  trainOn?: boolean;
}

/** Milliseconds in which a launcher passes on what a rank has printed. */
const PASSED_ON = 300;

/** `lazy-attention train [DATA]`; returns the exit code. */
export async function trainCommand(argument: string | undefined, given: TrainOptions): Promise<number> {
  const { data, ...recipe } = given.config === undefined ? {} : await readConfig(given.config);
  const source = argument ?? (data as string | undefined);
  // commander says true where --no-store was not given.
  const store = given.store === false ? false : (recipe.store as boolean | undefined);
  const options: TrainOptions = {
    ...{ ...recipe, ...given, trainOn: given.steps !== undefined },
    ...(store !== undefined && { store }),
  };
  goOnWithoutReaders();
  const communicator = await joinRanks();
  // An mpirun of one has to be left, too.
  if (communicator.size === 1) return trainRank(source, options, communicator).finally(() => communicator.close());
  try {
    const code = await trainRank(source, options, communicator);
    await communicator.close();
    return code;
  } catch (error) {
    const what =
      error instanceof LazyAttentionError ? `[${error.code}] ${error.message}` : String((error as Error).stack);
    console.error(`rank ${communicator.rank} of ${communicator.size} ends the run: error ${what}`);
    // MPICH's mpirun forgets what it has not passed on yet when a rank ends them all.
    await sleep(PASSED_ON);
    // The others wait for this one.
    communicator.abort(error instanceof UsageError ? 2 : 1);
    throw error;
  }
}

/** What each rank does, or a process on its own. */
async function trainRank(
  source: string | undefined,
  options: TrainOptions,
  communicator: Communicator,
): Promise<number> {
  const reporter = createReporter(communicator.rank > 0 ? 'silent' : options.json ? 'json' : 'auto');
  const say = (line: string) => reporter.say(line);
  let started: Started | null = null;
  const interrupt = catchInterrupt(() =>
    say(started === null ? 'Stopping.' : 'Stopping after this step; once more to stop at once.'),
  );
  try {
    const cache = options.store === false || options.plan ? {} : { cache: say };
    const reading = { signal: interrupt.signal, onProgress: sayProgress(say), ...cache };
    await requireSameProgram(communicator, options.plan ? '--plan' : options.resume ? '--resume' : 'begin');
    if (options.plan) return await planOnly(source, options, reading, communicator);
    if (communicator.size > 1) say(await introduction(communicator));
    started = await (options.resume ? resume : begin)(source, options, reporter, reading, communicator);
    return await runToEnd(started, options, reporter, interrupt, communicator);
  } catch (error) {
    if (started !== null || error !== interrupt.signal.reason) throw error;
    say('Stopped before the first step; nothing was written.');
    return interrupt.exitCode();
  } finally {
    interrupt.end();
    reporter.close();
    started?.lock?.release();
    await started?.backend.dispose();
  }
}

/** `train --plan`: what the run would take. Nothing is written. */
async function planOnly(
  source: string | undefined,
  options: TrainOptions,
  reading: Reading,
  { rank, size: ranks }: Communicator,
): Promise<number> {
  if (options.resume)
    throw new UsageError('train: --plan does not go with --resume, which says the same when it begins');
  // What the first says goes for all.
  if (rank > 0) return 0;
  const backend = await createBackend(options.backend ?? 'auto');
  try {
    const { record, memory } = await planRun(backend, source ?? EMBEDDED, options, reading, { ranks });
    const outlook = await outlookOf(backend, record, memory, { ranks });
    console.log(options.json ? JSON.stringify({ type: 'plan', ...outlook }) : outlookText(outlook));
    return 0;
  } finally {
    await backend.dispose();
  }
}

interface Started {
  /** Of rank 0, which alone writes. */
  readonly lock: FolderLock | null;
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
  communicator: Communicator,
): Promise<Started> {
  const backend = await createBackend(options.backend ?? 'auto');
  try {
    const ranks = communicator.size;
    const plan = () => planRun(backend, source ?? EMBEDDED, options, reading, { ranks });
    const { record, dataset, memory } = await leaderFirst(communicator, plan);
    reading.signal?.throwIfAborted();
    await requireSame(communicator, backend.name, record);
    const leads = communicator.rank === 0;
    const outlook = leads ? await outlookOf(backend, record, memory, { ranks }) : null;
    reading.signal?.throwIfAborted();
    const wanted = options.out ?? freeFolder(`runs/${record.preset}-${record.model.attention}`);
    if (leads) createRun(wanted, record);
    const out = await broadcastText(communicator, leads ? wanted : null);
    const folder = runFolder(out);
    const lock = leads ? lockFolder(folder.path) : null;
    if (outlook !== null) announce(reporter, backend, record, dataset, outlook, `into ${out}`);
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
  communicator: Communicator,
): Promise<Started> {
  if (options.out === undefined) throw new UsageError('train: --resume needs the folder of the run: --out FOLDER');
  const { folder, record: recorded } = openRun(options.out);
  refuseChanges('train', source, { ...options, steps: undefined }, recorded);
  const record = extended(withIntervals(recorded, options), options.steps);
  const lock = communicator.rank === 0 ? lockFolder(folder.path) : null;
  let backend: Backend | undefined;
  try {
    backend = await createBackend(resumeOn('train', options.backend, record, (line) => reporter.say(line)));
    const ranks = communicator.size;
    requireShare(ranks, record.training);
    const memory = refuseTooLarge(backend, record, ranks);
    await requireSame(communicator, backend.name, record);
    const dataset = await leaderFirst(communicator, () => loadRunData(record, reading));
    const outlook =
      communicator.rank > 0
        ? null
        : await outlookOf(backend, record, memory, { stepsDone: await stepsDone(folder), ranks });
    reading.signal?.throwIfAborted();
    if (record.training !== recorded.training && communicator.rank === 0) {
      replaceRecord(folder, { ...recorded, training: record.training });
      reporter.say(extension(record));
    }
    if (outlook !== null) announce(reporter, backend, record, dataset, outlook, `on with ${options.out}`);
    return { backend, folder, record, dataset, lock };
  } catch (error) {
    lock?.release();
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
  communicator: Communicator,
): Promise<number> {
  const live = options.open && communicator.rank === 0 ? await showLive(folder, record, dataset, reporter) : null;
  const outcome = await train(backend, record, folder, dataset, {
    resume: options.resume === true,
    trainOn: options.trainOn === true,
    listener: together(metricExports(folder, record), live === null ? reporter : together(reporter, live.listener)),
    signal: interrupt.signal,
    mapLength: live === null ? undefined : MAP_LENGTH,
    communicator,
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
    if (communicator.rank > 0) return 0;
    const { prompt, sample, summary } = await finishRun(outcome, folder, dataset, interrupt.signal);
    reporter.close();
    reporter.result(
      summary,
      summaryText(record, outcome.session.step, outcome.evaluation, prompt, sample, folder.path),
    );
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

/** Steps of the last checkpoint: those after it are made again. */
async function stepsDone(folder: RunFolder): Promise<number> {
  const path = await latestCheckpoint(folder.checkpoints);
  return path === null ? 0 : (await checkpointState(path)).step;
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
