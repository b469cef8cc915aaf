import type { Case } from './cases.ts';

/** One program that is measured. To add one, write a file in `peers/` and list it in `peers/index.ts`. */
export interface Peer {
  readonly name: string;
  /** Starts it. @returns what it is (version, device), or why it is absent. */
  open(): Promise<{ readonly about: string } | { readonly absent: string }>;
  /** Inputs and warm state for one case; null when the peer has no such case. */
  prepare(task: Case): Promise<Runner | null>;
  close(): Promise<void>;
}

export interface Runner {
  /** Does the work once and waits for it. @returns milliseconds, of one step or token where the case has several */
  run(): Promise<number>;
  dispose(): Promise<void>;
}
