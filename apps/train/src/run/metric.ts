/** One line of metrics.jsonl. Losses in nats per token, times in seconds since the run's first step (pauses left out). */
export type Metric = TrainMetric | EvalMetric;

/** A line of metrics.jsonl: a training step. */
export interface TrainMetric {
  /** Tells the lines apart. */
  readonly type: 'train';
  /** From 1. */
  readonly step: number;
  /** Of its batch, in nats per token. */
  readonly loss: number;
  /** That the step was made with. */
  readonly learningRate: number;
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Of training. */
  readonly tokensPerSecond: number;
  /** Since the run's first step, without pauses. */
  readonly seconds: number;
}

/** A line of metrics.jsonl: an evaluation. */
export interface EvalMetric {
  /** Tells the lines apart. */
  readonly type: 'eval';
  /** Training steps before it. */
  readonly step: number;
  /** Of the evaluation that ends a run, on the windows of --final-eval-windows. */
  readonly last?: true;
  /** What was looked at: the held-out part, or the training part of a run that holds nothing out. */
  readonly on: 'validation' | 'train';
  /** Mean over held-out tokens, in nats. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Of the held-out text. */
  readonly bitsPerByte: number;
  /** Share of attended pairs whose weight is exactly zero. */
  readonly sparsity?: number;
  /** Mean weight on the first token. */
  readonly firstTokenWeight?: number;
  /** Share of heads with a mean first-token weight above 0.3. */
  readonly sinkRate?: number;
}
