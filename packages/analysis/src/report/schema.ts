import * as v from 'valibot';
import { AnalysisError } from '../errors.ts';
import type { ReportData } from './data.ts';

const words = v.string();
const number = v.pipe(v.number(), v.finite());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const numberOrNull = v.nullable(number);
const byName = v.record(words, number);

const metrics = {
  sparsity: number,
  firstTokenWeight: number,
  firstTokenWeightNormalised: number,
  rowMass: number,
  emptyRows: number,
  entropy: number,
  entropyNormalised: number,
  inactiveTiles: byName,
  strongestPositionWeight: number,
  survivingMass: number,
  valueNormRatio: number,
};
const overall = {
  ...metrics,
  minHeadSparsity: number,
  sinkRate: byName,
  sinkRateNormalised: byName,
  sinkRateAnywhere: byName,
};

const head = v.looseObject({
  ...metrics,
  head: count,
  strongestPosition: count,
  positionWeights: v.array(numberOrNull),
  positionWeightsNormalised: v.array(numberOrNull),
  tau: numberOrNull,
  bias: v.nullable(v.array(number)),
});

const attention = v.looseObject({
  overall: v.looseObject({ ...overall, minLayerSparsity: number }),
  layers: v.array(v.looseObject({ layer: count, overall: v.looseObject(overall), heads: v.array(head) })),
  hidden: v.array(
    v.looseObject({
      index: count,
      layer: count,
      cosineSimilarity: number,
      effectiveRank: number,
      rankLimit: number,
      kurtosis: number,
      largestActivation: number,
      peak: v.object({ position: count, channel: count, value: number }),
      firstTokenNormRatio: number,
    }),
  ),
  maps: v.array(v.looseObject({ layer: count, head: count, weights: v.array(v.array(number)) })),
  sequences: count,
  tokens: count,
});

const curve = v.array(v.object({ step: count, loss: number }));

const run = v.object({
  scenario: words,
  arm: words,
  kind: words,
  seed: count,
  name: words,
  command: words,
  parameters: count,
  steps: count,
  stepsDone: count,
  tokensPerStep: count,
  seconds: number,
  training: curve,
  validation: curve,
  final: v.nullable(v.object({ loss: number, perplexity: v.number(), bitsPerByte: number })),
  attention: v.nullable(attention),
  mapTokens: v.array(words),
  sample: v.nullable(words),
});

const report = v.object({
  title: words,
  generatedAt: words,
  command: words,
  environment: v.array(v.tuple([words, words])),
  notes: v.array(words),
  runs: v.array(run),
  live: v.optional(words),
});

/** What JSON holds as the data of a report. @throws AnalysisError REPORT_DATA that names what is wrong */
export function checkReportData(value: unknown): ReportData {
  const result = v.safeParse(report, value, { abortEarly: true });
  // What the schema leaves out, `ReportData` has not either.
  if (result.success) return result.output as unknown as ReportData;
  const [issue] = result.issues;
  throw new AnalysisError('REPORT_DATA', `report: ${v.getDotPath(issue) ?? 'its data'}: ${issue.message}`);
}
