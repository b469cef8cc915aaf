import type { RunRecord } from '../run/record.ts';
import type { Evaluation } from '../training/evaluate.ts';
import { loss, percent, table, visible } from './format.ts';

/** What `train` ends with and `eval` prints. */
export function evaluationText({ headline, attention }: Evaluation): string {
  return table([
    [`${headline.on === 'train' ? 'training' : 'validation'} loss`, `${loss(headline.loss)} nats per token`],
    ['perplexity', headline.perplexity.toFixed(3)],
    ['bits per byte', headline.bitsPerByte.toFixed(4)],
    ...(attention === null ? [] : attentionRows(attention)),
  ]);
}

function attentionRows({ overall }: NonNullable<Evaluation['attention']>): [string, string][] {
  return [
    ['attention sparsity', `${percent(overall.sparsity)} of the weights are exactly zero`],
    [
      'first-token weight',
      `${overall.firstTokenWeight.toFixed(4)} (rows normalised: ${overall.firstTokenWeightNormalised.toFixed(4)})`,
    ],
    ['sink rate', `${percent(overall.sinkRate['0.3'])} of the heads give the first token more than 0.3`],
  ];
}

/** What `train` prints of a run that ended after `steps` steps. */
export function summaryText(
  record: RunRecord,
  steps: number,
  evaluation: Evaluation | null,
  prompt: string,
  sample: string,
  path: string,
): string {
  const results = evaluation === null ? '' : evaluationText(evaluation);
  return [
    '',
    `${record.preset}, ${record.model.attention} attention, ${steps === record.training.steps ? steps : `${steps} of ${record.training.steps}`} steps`,
    results,
    '',
    `Sample, after "${visible(prompt)}":`,
    visible(sample.slice(prompt.length).trim()),
    '',
    `Run folder: ${path}`,
  ].join('\n');
}
