import type { Random } from '../random.ts';

/** Something that takes input from outside. */
export interface Target {
  readonly name: string;
  /** Called once in the child process, with a folder of its own. */
  prepare(folder: string): Promise<Prepared>;
}

/** A target that is ready to be tried. */
export interface Prepared {
  /**
   * One case, decided by `random` alone. Resolves when the input was taken, or refused by a typed error of the
   * project; rejects with anything else, which is a finding.
   */
  attempt(random: Random): Promise<Outcome>;
  close(): Promise<void>;
}

export interface Outcome {
  /** How many inputs or calls this case was. */
  readonly count: number;
  /** Those of them that were taken. */
  readonly accepted: number;
}
