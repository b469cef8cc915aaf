import type * as v from 'valibot';
import type { RunRecord } from '../run/record.ts';
import type { Value } from './values.ts';

/** One option: what a command line calls it, what it may be, where run.json keeps it, and what --resume makes of it. */
export interface TrainingOption<T = unknown> {
  /** As commander writes it: '--steps <n>'. */
  readonly flags: string;
  /** For --help, with the default. */
  readonly help: string;
  /** What a command line may give. */
  readonly value: Value<T> & { readonly names?: readonly string[] };
  /** Section and field of run.json, or null when the value itself is not kept. */
  readonly recorded: `${string}.${string}` | 'preset' | null;
  /** What run.json may hold, where that is not the option's own value. */
  readonly stored?: v.GenericSchema;
  /** The option's value from run.json's. */
  load?(stored: unknown, record: RunRecord): unknown;
  /** run.json's value from the option's. */
  store?(value: T): unknown;
  /** 'fixed' decides what is computed, so a resumed run must have the same; 'free' may be given anew; 'refused' cannot be compared. */
  readonly resume: 'fixed' | 'free' | 'refused';
  /** Only `train` has it: a comparison sets it itself. */
  readonly single?: true;
}
