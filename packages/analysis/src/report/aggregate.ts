import type { AttentionKind } from '@lazy-attention/nn';
import type { CurvePoint, ReportRun } from './data.ts';
import { compareKinds } from './kinds.ts';

/** Runs that differ in the seed alone. */
export interface Arm {
  /** Of the curve or column, for people. */
  readonly name: string;
  /** Name of the kind of attention. */
  readonly kind: AttentionKind;
  /** Sorted by seed. */
  readonly runs: readonly ReportRun[];
}

/** Runs that differ in nothing but the kind of attention and the seed. */
export interface Scenario {
  /** For people. */
  readonly name: string;
  /** By kind, in the order of the table of kinds. */
  readonly arms: readonly Arm[];
}

/** Mean over seeds and sample standard deviation (null for one seed). */
export interface Spread {
  /** Over seeds. */
  readonly mean: number;
  /** Standard deviation over seeds; null for one. */
  readonly deviation: number | null;
  /** Seeds. */
  readonly count: number;
}

/** Scenarios in the order they come in; arms baseline first, so that all charts and tables agree. */
export function groupRuns(runs: readonly ReportRun[]): Scenario[] {
  return groupBy(runs, (run) => run.scenario).map(([name, members]) => ({
    name,
    arms: groupBy(members, (run) => run.arm)
      .map(([arm, of]) => ({ name: arm, kind: of[0].kind, runs: [...of].sort((a, b) => a.seed - b.seed) }))
      .sort((a, b) => compareKinds(a.kind, b.kind)),
  }));
}

/** null when no run of the arm has the figure. */
export function spread(
  runs: readonly ReportRun[],
  figure: (run: ReportRun) => number | null | undefined,
): Spread | null {
  const values = runs.map(figure).filter((value): value is number => typeof value === 'number');
  return values.length === 0 ? null : spreadOf(values);
}

/** Of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : null, count: values.length };
}

/** Of `figure` here less there, seed by seed, so that what a seed does to both arms alike falls away. */
export function pairedDifference(
  arm: Arm,
  baseline: Arm,
  figure: (run: ReportRun) => number | null | undefined,
): Spread | null {
  return spread(arm.runs, (run) => {
    const partner = baseline.runs.find((other) => other.seed === run.seed);
    const [here, there] = [figure(run), partner === undefined ? null : figure(partner)];
    return typeof here === 'number' && typeof there === 'number' ? here - there : null;
  });
}

export interface CurveBand {
  readonly step: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Curves of several seeds as mean, lowest and highest, in at most `points` steps; each point is the mean of its steps. */
export function curveBand(curves: readonly (readonly CurvePoint[])[], points: number): CurveBand[] {
  const last = Math.max(0, ...curves.map((curve) => curve.at(-1)?.step ?? 0));
  const width = Math.max(1, Math.ceil(last / points));
  const bins = new Map<number, number[][]>();
  curves.forEach((curve, c) => {
    for (const { step, loss } of curve) {
      // Steps 1..width are the first bin, named after its last step.
      const bin = Math.min(last, Math.ceil(step / width) * width);
      const values = bins.get(bin) ?? curves.map(() => []);
      bins.set(bin, values);
      values[c].push(loss);
    }
  });
  return [...bins]
    .sort(([a], [b]) => a - b)
    .map(([step, values]) => {
      const means = values.filter((of) => of.length > 0).map((of) => of.reduce((sum, x) => sum + x, 0) / of.length);
      return {
        step,
        mean: means.reduce((sum, x) => sum + x, 0) / means.length,
        low: Math.min(...means),
        high: Math.max(...means),
      };
    });
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return [...groups];
}
