export {
  type Case,
  type ConformanceOptions,
  type Direction,
  OPS,
  type Op,
  type Size,
  TOLERANCES,
  type Tolerance,
  type Tolerances,
} from './case.ts';
export { attentionCases, conformanceCases } from './cases.ts';
export { ConformanceError } from './compare.ts';
export { coverageTable } from './coverage.ts';
export { type CaseResult, runCases, type Skips } from './run.ts';
export type { AttentionSpec } from './suites/attention-problem.ts';
export { packed, type Starts, sliding } from './suites/starts.ts';
