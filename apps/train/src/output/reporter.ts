import { SingleBar } from 'cli-progress';
import type { EvalMetric, TrainMetric } from '../run/metrics.ts';
import type { TrainingSample } from '../training/samples.ts';
import type { TrainListener } from '../training/train.ts';
import { barLine } from './bar.ts';
import { count, duration, loss, percent } from './format.ts';

/** Where training talks: a progress bar on a terminal, plain lines elsewhere, or JSON lines for programs. */
export interface Reporter extends TrainListener {
  /** A line for people; JSON mode keeps it on standard error. */
  say(line: string): void;
  /** The final result; JSON mode prints it as one line. */
  result(value: object, text: string): void;
  close(): void;
}

export function createReporter(mode: 'json' | 'auto' | 'silent'): Reporter {
  if (mode === 'silent') return { say: () => {}, result: () => {}, close: () => {} };
  if (mode === 'json') return jsonReporter();
  return process.stdout.isTTY === true ? barReporter() : lineReporter();
}

function jsonReporter(): Reporter {
  const print = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
  return {
    onStart: (info) => print({ type: 'start', ...info }),
    onStep: print,
    onEval: (metric) => print(metric),
    onSample: (sample) => print({ type: 'sample', ...sample }),
    onNotice: (line) => process.stderr.write(`${line}\n`),
    say: (line) => process.stderr.write(`${line}\n`),
    result: (value) => print({ type: 'result', ...value }),
    close: () => {},
  };
}

/** About thirty lines a run, and always the first and the last step. */
function lineReporter(): Reporter {
  let steps = 1;
  let every = 1;
  let first = 0;
  return {
    onStart: (info) => {
      ({ steps } = info);
      first = info.step + 1;
      every = Math.max(1, Math.round(steps / 30));
    },
    onStep: (metric) => {
      if (metric.step === first || metric.step % every === 0 || metric.step === steps) {
        console.log(`step ${metric.step}/${steps}  ${stepParts(metric, steps).join('  ')}`);
      }
    },
    onEval: (metric) => console.log(evalText(metric)),
    onSample: (sample) => console.log(sampleText(sample)),
    onNotice: (line) => console.log(line),
    say: (line) => console.log(line),
    result: (_, text) => console.log(text),
    close: () => {},
  };
}

function barReporter(): Reporter {
  let bar: SingleBar | null = null;
  let steps = 1;
  let at = 0;
  const start = () => {
    bar = new SingleBar({
      // The width is asked for anew each time: a terminal may be made smaller.
      format: (_, { value, total }, { parts }) => barLine(process.stdout.columns || 80, value, total, parts),
      stream: process.stdout,
      hideCursor: true,
      clearOnComplete: false,
      linewrap: false,
    });
    bar.start(steps, at, { parts: [] });
  };
  const aside = (line: string) => {
    bar?.stop();
    console.log(line);
    if (bar !== null && at < steps) start();
  };
  return {
    onStart: (info) => {
      ({ steps } = info);
      at = info.step;
      start();
    },
    onStep: (metric) => {
      at = metric.step;
      bar?.update(metric.step, { parts: stepParts(metric, steps) });
    },
    onEval: (metric) => aside(evalText(metric)),
    onSample: (sample) => aside(sampleText(sample)),
    onNotice: aside,
    say: aside,
    result: (_, text) => aside(text),
    close: () => {
      bar?.stop();
      bar = null;
    },
  };
}

/** What is said of a step, the most important first. */
function stepParts(metric: TrainMetric, steps: number): string[] {
  return [
    `loss ${loss(metric.loss)}`,
    `${duration((steps - metric.step) * (metric.seconds / metric.step))} left`,
    `${count(metric.tokensPerSecond)} tokens/s`,
    `lr ${metric.learningRate.toPrecision(3)}`,
  ];
}

function sampleText({ step, text }: TrainingSample): string {
  return `step ${step}  sample: ${text}`;
}

function evalText(metric: EvalMetric): string {
  const parts = [
    `step ${metric.step}  ${metric.on === 'train' ? 'training' : 'validation'} loss ${loss(metric.loss)} nats`,
    `${metric.bitsPerByte.toFixed(3)} bits/byte`,
  ];
  if (metric.sparsity !== undefined) parts.push(`sparsity ${percent(metric.sparsity)}`);
  return parts.join('  ');
}
