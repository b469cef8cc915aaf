import type { AttentionKind } from '@lazy-attention/nn';
import { UsageError } from '../errors.ts';
import { type ConfigFile, SINGLE_KEYS } from '../options/config-file.ts';
import { OPTION_ROWS } from '../options/rows.ts';
import type { PlanOptions } from '../options/table.ts';
import { refuseChanges, withIntervals } from '../training/plan.ts';
import type { ComparePlan } from './compare-plan.ts';

/** What `compare` and `study` take, as commander gives it. */
export interface SeveralOptions extends Omit<PlanOptions, 'attention' | 'seed'> {
  /** Kinds of attention, in this order. */
  attention?: readonly AttentionKind[];
  /** How many seeds: 0, 1, ... */
  seeds?: number;
  backend?: string;
  out?: string;
  resume?: boolean;
  json?: boolean;
}

/**
 * A recipe's options for several runs. Kind and seed, which differ from run to run, are left out, which is said.
 * @throws UsageError for an option of a single run
 */
export function severalOf(command: string, path: string, recipe: ConfigFile, say: (line: string) => void): ConfigFile {
  const { attention, seed, ...rest } = recipe;
  for (const [name, value] of Object.entries({ attention, seed })) {
    if (value !== undefined)
      say(`${command}: ${name} of ${path} (${String(value)}) is left out: the runs have several`);
  }
  const singles = [...OPTION_ROWS.flatMap(([key, option]) => (option.single ? [key] : [])), ...SINGLE_KEYS];
  const single = singles.find((key) => rest[key] !== undefined);
  if (single === undefined) return rest;
  throw new UsageError(
    `${command}: --config ${path}: ${single} is of a single run; leave it out, or train by this recipe`,
  );
}

/** The options that `train` would take, without those that are set for each run. */
export function trainingOptions({
  attention: _,
  seeds: __,
  ...options
}: SeveralOptions): Omit<PlanOptions, 'attention' | 'seed'> {
  return options;
}

/** The seeds of a new plan. */
export function seedsOf({ seeds = 1 }: SeveralOptions): number[] {
  return Array.from({ length: seeds }, (_, seed) => seed);
}

/** A plan that goes on, with the rhythm that is asked for now. @throws UsageError for what would change its runs */
export function resumedPlan<P extends ComparePlan>(
  command: string,
  what: string,
  source: string | undefined,
  options: SeveralOptions,
  plan: P,
): P {
  refuseChanges(command, source, trainingOptions(options), plan.record);
  for (const [flag, asked, was] of [
    ['--attention', options.attention?.join(), plan.attentions.join()],
    ['--seeds', options.seeds, plan.seeds.length],
  ] as const) {
    if (asked === undefined || asked === was) continue;
    throw new UsageError(
      `${command}: ${flag} is ${asked}, but the ${what} was started with ${was}; leave it out to resume`,
    );
  }
  return { ...plan, record: withIntervals(plan.record, trainingOptions(options)) };
}
