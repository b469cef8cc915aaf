import type * as v from 'valibot';
import type { RunRecord } from '../run/record.ts';
import type { TrainingOption } from './option.ts';
import { type PlanOptions, TRAINING_OPTIONS, type TrainingValues } from './table.ts';

/** The rows of the table, each with its key. */
export const OPTION_ROWS = Object.entries(TRAINING_OPTIONS) as [keyof TrainingValues, TrainingOption][];

/** The option's name on a command line: '--weight-decay'. */
export function flagOf(option: Pick<TrainingOption, 'flags'>): string {
  return option.flags.split(' ')[0];
}

/** The flag that gives a field of run.json, 'model.numLayers'; undefined where none does. */
export function flagOfField(field: string): string | undefined {
  const row = OPTION_ROWS.find(([, { recorded }]) => recorded === field);
  return row === undefined ? undefined : flagOf(row[1]);
}

/** What run.json says of an option, in the option's own terms. */
export function recordedValue(option: TrainingOption, record: RunRecord): unknown {
  if (option.recorded === null) return undefined;
  let at: unknown = record;
  for (const name of option.recorded.split('.')) at = (at as Record<string, unknown> | undefined)?.[name];
  return option.load === undefined ? at : option.load(at, record);
}

/** The part of run.json called `section` ('training', 'data.options') from the options that it keeps. */
export function recordSection(section: string, values: PlanOptions): Record<string, unknown> {
  return Object.fromEntries(
    rowsOf(section).flatMap(([field, key, { store }]) => {
      const value = values[key];
      if (value === undefined) return [];
      return [[field, store === undefined ? value : store(value)]];
    }),
  );
}

/** A schema for each field of a section of run.json that an option gives. */
export function sectionSchemas(section: string): Record<string, v.GenericSchema> {
  return Object.fromEntries(rowsOf(section).map(([field, , { stored, value }]) => [field, stored ?? value.schema]));
}

function rowsOf(section: string) {
  return OPTION_ROWS.flatMap(([key, option]) => {
    const dot = option.recorded?.lastIndexOf('.') ?? -1;
    if (option.recorded === null || dot < 0 || option.recorded.slice(0, dot) !== section) return [];
    return [[option.recorded.slice(dot + 1), key, option] as const];
  });
}
