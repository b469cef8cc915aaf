import { join } from 'node:path';
import { type ReportData, renderPicture } from '@lazy-attention/analysis/report';
import { type Backend, createBackend } from '@lazy-attention/core';
import type { Dataset } from '@lazy-attention/data';
import { type AttentionKind, type AttentionRole, attentionKind, attentionKinds } from '@lazy-attention/nn';
import { catchInterrupt } from '../cli/interrupt.ts';
import { openInBrowser } from '../cli/open.ts';
import { goOnWithoutReaders } from '../cli/pipes.ts';
import { collectReport } from '../compare/collect.ts';
import { resumedPlan, type SeveralOptions, seedsOf, severalOf, trainingOptions } from '../compare/options.ts';
import {
  COMPARE_VERSION,
  type ComparePlan,
  type CompareRun,
  createCompare,
  openCompare,
  plannedRuns,
  shownPath,
} from '../compare/plan.ts';
import { isFinished, trainPlanned } from '../compare/run.ts';
import { reportText } from '../compare/text.ts';
import { UsageError } from '../errors.ts';
import { readConfig } from '../options/config-file.ts';
import { duration } from '../output/format.ts';
import { createReporter } from '../output/reporter.ts';
import { refuseRanks } from '../ranks/join.ts';
import { writeWhole } from '../run/files.ts';
import { freeFolder } from '../run/folder.ts';
import { type FolderLock, lockFolder } from '../run/lock.ts';
import { figuresOf } from '../study/figures.ts';
import { settingsOf } from '../study/settings.ts';
import { type ResultTable, spreadRows } from '../study/table.ts';
import { EMBEDDED, isTask, loadRunData, type Reading, sayProgress } from '../training/data.ts';
import { planRun } from '../training/plan.ts';
import type { TrainListener } from '../training/train.ts';
import { writeReport } from './report.ts';
import { resumeOn } from './train.ts';

export interface CompareOptions extends SeveralOptions {
  open?: boolean;
  /** A recipe: options in a file. */
  config?: string;
}

/** The pair that matters most first, in case one stops early. */
const FIRST: readonly AttentionRole[] = ['reference', 'subject', 'baseline', 'ablation'];

/** The kind of the record that all runs are made from; which one does not matter. */
const SUBJECT = attentionKinds()[0].name;

/** A synthetic task is small enough for all kinds. */
function defaultKinds(source: string): AttentionKind[] {
  const compared = attentionKinds().filter(({ comparedByDefault }) => comparedByDefault || isTask(source));
  return FIRST.flatMap((first) => compared.filter(({ role }) => role === first)).map(({ name }) => name);
}

/** `lazy-attention compare [DATA]`: trains all kinds of attention alike and writes one report; returns the exit code. */
export async function compareCommand(argument: string | undefined, given: CompareOptions): Promise<number> {
  goOnWithoutReaders();
  refuseRanks('compare');
  const say = (line: string) => (given.json ? process.stderr : process.stdout).write(`${line}\n`);
  const { config } = given;
  const { data, ...recipe } = config === undefined ? {} : severalOf('compare', config, await readConfig(config), say);
  const { config: _, ...options }: CompareOptions = { ...recipe, ...given };
  const source = argument ?? (data as string | undefined);
  const interrupt = catchInterrupt(() => say('Stopping after this step; once more to stop at once.'));
  const opened = options.resume ? reopen(source, options) : null;
  const backend = await createBackend(
    opened === null ? (options.backend ?? 'auto') : resumeOn('compare', options.backend, opened.plan.record, say),
  );
  let lock: FolderLock | null = null;
  const reading = { signal: interrupt.signal, onProgress: sayProgress(say) };
  try {
    const { root, plan, dataset } =
      opened === null
        ? await begin(backend, source, options, reading)
        : { ...opened, dataset: await loadRunData(opened.plan.record, reading) };
    lock = lockFolder(root);
    const runs = plannedRuns(root, plan);
    say(
      `Comparing ${runs.length} runs of ${plan.record.preset} in ${shownPath(root)}, on ${backend.name}: ${backend.device}`,
    );
    const clock = remainingTime(runs);
    for (const [n, run] of runs.entries()) {
      if (isFinished(run)) continue;
      const left = clock.left();
      say(
        `\n[${n + 1} of ${runs.length}] ${attentionKind(run.attention).label}, seed ${run.seed}${left === null ? '' : `; about ${left} left in all`}`,
      );
      const reporter = options.json ? jsonListener(run) : createReporter('auto');
      const done = await trainPlanned(backend, run, dataset, {
        listener: clock.watch(reporter),
        signal: interrupt.signal,
      }).finally(() => reporter.close());
      if (!done) {
        say(`Saved. Go on with: lazy-attention compare --resume --out ${shownPath(root)}`);
        return interrupt.exitCode();
      }
    }
    await report(root, plan, backend, options);
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

interface Started {
  readonly root: string;
  readonly plan: ComparePlan;
  readonly dataset: Dataset;
}

async function begin(
  backend: Backend,
  source: string | undefined,
  options: CompareOptions,
  reading: Reading,
): Promise<Started> {
  const attentions = options.attention ?? defaultKinds(source ?? EMBEDDED);
  const subject = { ...trainingOptions(options), attention: SUBJECT };
  const { record, dataset } = await planRun(backend, source ?? EMBEDDED, subject, reading, { kinds: attentions });
  reading.signal?.throwIfAborted();
  const plan: ComparePlan = {
    version: COMPARE_VERSION,
    record,
    attentions,
    seeds: seedsOf(options),
  };
  const root = options.out ?? freeFolder(`runs/compare-${record.preset}`);
  createCompare(root, plan);
  return { root, plan, dataset };
}

function reopen(source: string | undefined, options: CompareOptions): Omit<Started, 'dataset'> {
  if (options.out === undefined)
    throw new UsageError('compare: --resume needs the folder of the comparison: --out FOLDER');
  const plan = openCompare(options.out);
  return { root: options.out, plan: resumedPlan('compare', 'comparison', source, options, plan) };
}

async function report(root: string, plan: ComparePlan, backend: Backend, options: CompareOptions): Promise<void> {
  const data = await collectReport([root], {
    title: `Lazy Attention and softmax, compared: ${plan.record.preset}`,
    command: plan.record.command,
    backend,
    measure: true,
  });
  const path = join(root, 'report.html');
  writeReport(path, data);
  writeWhole(join(root, 'report.json'), `${JSON.stringify(data)}\n`);
  writeWhole(join(root, 'table.json'), `${JSON.stringify(resultTable(plan, data), null, 1)}\n`);
  writeWhole(join(root, 'picture.svg'), renderPicture(data));
  console.log(
    options.json
      ? JSON.stringify({ type: 'result', report: path, notes: data.notes })
      : `\n${reportText(data, shownPath(path))}`,
  );
  if (options.open) openInBrowser(path);
}

/** What tables are made of, without curves and maps. */
function resultTable({ record }: ComparePlan, { command, generatedAt, runs }: ReportData): ResultTable {
  return {
    name: 'compare',
    command,
    generatedAt,
    settings: settingsOf(record),
    keys: ['attention'],
    rows: spreadRows(
      runs.map(({ arm, final, attention }) => ({ key: [arm], figures: figuresOf(final?.loss ?? null, attention) })),
    ),
  };
}

function jsonListener({ attention, seed }: CompareRun): TrainListener & { close(): void } {
  const print = (value: object) => process.stdout.write(`${JSON.stringify({ attention, seed, ...value })}\n`);
  return {
    onStart: (info) => print({ type: 'start', ...info }),
    onStep: print,
    onEval: (metric) => print(metric),
    onNotice: (line) => process.stderr.write(`${line}\n`),
    close: () => {},
  };
}

/** Seconds per step so far, times the steps that are left. */
function remainingTime(runs: readonly CompareRun[]) {
  const open = runs.filter((run) => !isFinished(run));
  let stepsLeft = open.reduce((sum, { record }) => sum + record.training.steps, 0);
  let stepsDone = 0;
  const began = performance.now();
  return {
    left: () => (stepsDone === 0 ? null : duration(((performance.now() - began) / 1000 / stepsDone) * stepsLeft)),
    watch: (listener: TrainListener): TrainListener => ({
      onStart: (info) => {
        stepsLeft -= info.step;
        listener.onStart?.(info);
      },
      onStep: (metric) => {
        stepsDone++;
        stepsLeft--;
        listener.onStep?.(metric);
      },
      onEval: (metric, attention) => listener.onEval?.(metric, attention),
      onNotice: (line) => listener.onNotice?.(line),
    }),
  };
}
