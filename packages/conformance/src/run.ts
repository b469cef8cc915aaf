import type { Backend } from '@lazy-attention/core';
import type { Case } from './case.ts';

/** Tests that a backend is known not to pass, by name, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

/** The outcome of one case on one backend. */
export interface CaseResult {
  /** What was run. */
  readonly case: Case;
  /** 'not offered' is what a backend may leave out, and does. */
  readonly status: 'passed' | 'failed' | 'skipped' | 'not offered';
  /** What went wrong, why it was skipped, or what is not offered. */
  readonly message: string;
  /** How long it took, the reference included. */
  readonly milliseconds: number;
}

/**
 * Runs the cases one after the other. A skipped case is run all the same: one that passes has failed to need its skip.
 *
 * @param onResult is called after each case, for progress.
 */
export async function runCases(
  backend: Backend,
  cases: readonly Case[],
  options: { readonly skip?: Skips; readonly onResult?: (result: CaseResult) => void } = {},
): Promise<CaseResult[]> {
  const { skip = {}, onResult } = options;
  const results: CaseResult[] = [];
  for (const test of cases) {
    const start = performance.now();
    const outcome = await runCase(backend, test, skip[test.name]);
    const result = { case: test, ...outcome, milliseconds: performance.now() - start };
    results.push(result);
    onResult?.(result);
  }
  return results;
}

async function runCase(
  backend: Backend,
  test: Case,
  reason: string | undefined,
): Promise<Pick<CaseResult, 'status' | 'message'>> {
  const lack = test.lacks?.(backend);
  if (lack !== undefined) return { status: 'not offered', message: lack };
  try {
    await test.run(backend);
  } catch (error) {
    if (reason !== undefined) return { status: 'skipped', message: reason };
    return { status: 'failed', message: explain(error) };
  }
  if (reason !== undefined) return { status: 'failed', message: passesNow(reason) };
  return { status: 'passed', message: '' };
}

/** fast-check says which random shape failed and keeps what went wrong as the cause. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${explain(error.cause)}\n${error.message}`;
}

export function passesNow(reason: string): string {
  return `passes now; take it off the skip list (reason given: ${reason})`;
}

/** Names on a skip list that no case has: a skip that skips nothing is a mistake. */
export function unknownSkips(cases: readonly Case[], skip: Skips): string[] {
  const names = new Set(cases.map(({ name }) => name));
  return Object.keys(skip).filter((name) => !names.has(name));
}
