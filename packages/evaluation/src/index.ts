/** Log-likelihoods of text under a model, and benchmarks made of them, by the rules of lm-eval. See README.md. */
export { type BenchmarkOptions, evaluateItems, type Sample, summarize, type TaskResult } from './benchmark.ts';
export { EvaluationError, type EvaluationErrorCode } from './errors.ts';
export { FEW_SHOT_SEED, type FewShot } from './few-shot.ts';
export { parseRequest, type Request } from './read/requests.ts';
export {
  encodePair,
  type RequestLimits,
  rollingWindows,
  type TextEncoder,
  type TokenRequest,
  textEncoder,
} from './requests.ts';
export { type ScoreOptions, type Subject, scoreTokens, type TokenScore } from './score.ts';
export type { ChoiceTask, CompletionTask, ContextTask, Doc, RollingTask, Task } from './tasks/task.ts';
export { BENCHMARKS } from './tasks/tasks.ts';
