import { join } from 'node:path';
import { type Backend, createBackend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { attentionKind, lazyTransformer } from '@lazy-attention/nn';
import { catchInterrupt } from '../cli/interrupt.ts';
import { goOnWithoutReaders } from '../cli/pipes.ts';
import { resumedPlan, type SeveralOptions, seedsOf, trainingOptions } from '../compare/options.ts';
import { COMPARE_VERSION, type CompareRun, shownPath } from '../compare/plan.ts';
import { isFinished, trainPlanned } from '../compare/run.ts';
import { UsageError } from '../errors.ts';
import { createReporter } from '../output/reporter.ts';
import { refuseRanks } from '../ranks/join.ts';
import { writeWhole } from '../run/files.ts';
import { freeFolder } from '../run/folder.ts';
import { type FolderLock, lockFolder } from '../run/lock.ts';
import { createStudy, openStudy, type StudyPlan, studyRuns } from '../study/plan.ts';
import { settingsOf } from '../study/settings.ts';
import { STUDIES, type Study } from '../study/studies.ts';
import { type Measurement, type ResultTable, spreadRows, tableText } from '../study/table.ts';
import { withTrained } from '../study/trained.ts';
import { loadRunData, type Reading, sayProgress } from '../training/data.ts';
import { planRun } from '../training/plan.ts';
import { hasTau } from '../training/start.ts';
import type { TrainListener } from '../training/train.ts';
import { resumeOn } from './train.ts';

/** As commander gives them. */
export type StudyOptions = SeveralOptions;

interface Started {
  readonly root: string;
  readonly plan: StudyPlan;
  readonly dataset: Dataset;
}

/** `lazy-attention study NAME [DATA]`: trains what a study needs, measures it and writes table.json; returns the exit code. */
export async function studyCommand(name: string, source: string | undefined, options: StudyOptions): Promise<number> {
  goOnWithoutReaders();
  refuseRanks('study');
  const study = STUDIES[name] as Study;
  const say = (line: string) => (options.json ? process.stderr : process.stdout).write(`${line}\n`);
  const interrupt = catchInterrupt(() => say('Stopping after this step; once more to stop at once.'));
  const opened = options.resume ? reopen(name, source, options) : null;
  const backend = await createBackend(
    opened === null ? (options.backend ?? 'auto') : resumeOn('study', options.backend, opened.plan.record, say),
  );
  const reading = { signal: interrupt.signal, onProgress: sayProgress(say) };
  let lock: FolderLock | null = null;
  try {
    const started =
      opened === null
        ? await begin(backend, name, source, options, reading)
        : { ...opened, dataset: await loadRunData(opened.plan.record, reading) };
    lock = lockFolder(started.root);
    const runs = studyRuns(started.root, study, started.plan);
    say(`Study ${name}: ${runs.length} runs in ${shownPath(started.root)}, on ${backend.name}: ${backend.device}`);
    const stopped = () => {
      say(`Saved. Go on with: lazy-attention study ${name} --resume --out ${shownPath(started.root)}`);
      return interrupt.exitCode();
    };
    if (!(await trainAll(backend, runs, started.dataset, interrupt.signal, options.json === true, say))) {
      return stopped();
    }
    const { signal } = interrupt;
    const table = await measureAll(backend, name, study, started, runs, signal).catch((error) => {
      if (signal.aborted) return null;
      throw error;
    });
    if (table === null) return stopped();
    const path = join(started.root, 'table.json');
    writeWhole(path, `${JSON.stringify(table, null, 1)}\n`);
    console.log(
      options.json ? JSON.stringify(table) : `\n${tableText(table, study.shown)}\n\nTable: ${shownPath(path)}`,
    );
    return 0;
  } catch (error) {
    if (lock !== null || error !== interrupt.signal.reason) throw error;
    say('Stopped before the first step; nothing was written.');
    return interrupt.exitCode();
  } finally {
    lock?.release();
    interrupt.end();
    await backend.dispose();
  }
}

async function begin(
  backend: Backend,
  name: string,
  source: string | undefined,
  options: StudyOptions,
  reading: Reading,
): Promise<Started> {
  const study = STUDIES[name] as Study;
  const attentions = options.attention ?? study.attentions;
  if (source !== undefined && study.sources?.includes(source) === false) {
    throw new UsageError(`study ${name}: DATA is ${source}; leave it out`);
  }
  const asked = Object.fromEntries(Object.entries(trainingOptions(options)).filter(([, value]) => value !== undefined));
  const { record, dataset } = await planRun(
    backend,
    source ?? study.source,
    { ...study.options, ...asked, attention: attentions[0] },
    reading,
    { kinds: attentions },
  );
  reading.signal?.throwIfAborted();
  const tauless = attentions.filter((attention) => !hasTau(lazyTransformer({ ...record.model, attention })));
  if (study.taus !== undefined && tauless.length > 0) {
    throw new UsageError(`study ${name}: ${tauless.join(' and ')} attention has no tau; leave it out of --attention`);
  }
  const looks = options.evalEvery === undefined ? study.looks : undefined;
  const evalEvery =
    looks === undefined ? record.rhythm.evalEvery : Math.max(1, Math.round(record.training.steps / looks));
  const plan: StudyPlan = {
    version: COMPARE_VERSION,
    study: name,
    record: { ...record, rhythm: { ...record.rhythm, evalEvery } },
    attentions,
    seeds: seedsOf(options),
  };
  const root = options.out ?? freeFolder(`runs/study-${name}`);
  createStudy(root, plan);
  return { root, plan, dataset };
}

function reopen(name: string, source: string | undefined, options: StudyOptions): Omit<Started, 'dataset'> {
  if (options.out === undefined) throw new UsageError('study: --resume needs the folder of the study: --out FOLDER');
  const plan = openStudy(options.out, name);
  return { root: options.out, plan: resumedPlan('study', 'study', source, options, plan) };
}

/** False when it was interrupted. */
async function trainAll(
  backend: Backend,
  runs: readonly CompareRun[],
  dataset: Dataset,
  signal: AbortSignal,
  quiet: boolean,
  say: (line: string) => void,
): Promise<boolean> {
  for (const [n, run] of runs.entries()) {
    if (isFinished(run)) continue;
    say(`\n[${n + 1} of ${runs.length}] ${shownPath(run.folder.path)}`);
    const reporter: TrainListener & { close(): void } = quiet ? { close: () => {} } : createReporter('auto');
    const done = await trainPlanned(backend, run, dataset, { listener: reporter, signal }).finally(() =>
      reporter.close(),
    );
    if (!done) return false;
  }
  return true;
}

async function measureAll(
  backend: Backend,
  name: string,
  study: Study,
  { plan, dataset }: Started,
  runs: readonly CompareRun[],
  signal: AbortSignal,
): Promise<ResultTable> {
  const measured: Measurement[] = [];
  for (const run of runs) {
    signal.throwIfAborted();
    const rows = await withTrained(backend, run, dataset, signal, (trained) => study.measure(trained));
    const { label } = attentionKind(run.attention);
    measured.push(...rows.map(({ key, figures }) => ({ key: [label, ...key], figures })));
  }
  return {
    name,
    command: plan.record.command,
    generatedAt: new Date().toISOString(),
    settings: settingsOf(plan.record),
    keys: ['attention', ...study.keys],
    rows: spreadRows(measured),
  };
}
