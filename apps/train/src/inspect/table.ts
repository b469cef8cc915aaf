import type { AttentionSummary, HeadMetrics, LayerMetrics } from '@lazy-attention/analysis';
import type { OpenedModel } from '@lazy-attention/models';
import { parameterCount } from '@lazy-attention/nn';
import { count, loss, percent, table } from '../output/format.ts';
import type { Inspection } from './measure.ts';

/** Heads that the text output lists. */
const LISTED = 10;

/** What a model is, in a line or two. */
export function describeModel({ path, format, config }: OpenedModel, types: Readonly<Record<string, number>>): string {
  const stored = Object.entries(types).map(([type, numbers]) => `${count(numbers)} ${type}`);
  return table([
    ['model', `${path} (${format})`],
    ['parameters', `${count(parameterCount(config))}; in the files ${stored.join(', ')}`],
    [
      'shape',
      `${config.numLayers} layers, ${config.hiddenSize} wide, ${config.numHeads} query and ${config.numKvHeads} key/value heads of ${config.headDim}, MLP ${config.intermediateSize}, vocabulary ${count(config.vocabSize)}, context ${count(config.context)}`,
    ],
    ['attention', config.attention],
  ]);
}

/** Figures, then a line per layer, then the telling heads. */
export function inspectionText({ loss: nats, tokens, attention, telling }: Inspection, text: string): string {
  const head = table([
    ['text', `${text}, ${count(tokens)} tokens`],
    ['loss', `${loss(nats)} nats per token`],
  ]);
  if (attention === null) return `${head}\nIts attention has no weights to look at.`;
  return [head, overallText(attention), layersText(attention), headsText(attention, telling)].join('\n\n');
}

function overallText({ overall, hidden }: AttentionSummary): string {
  const peak = hidden.reduce((a, b) => (b.largestActivation > a.largestActivation ? b : a));
  return table([
    [
      'first-token weight',
      `${overall.firstTokenWeight.toFixed(3)} (rows normalised: ${overall.firstTokenWeightNormalised.toFixed(3)})`,
    ],
    [
      'sink rate',
      `${percent(overall.sinkRate['0.3'])} of the heads give the first token more than 0.3, ${percent(overall.sinkRateAnywhere['0.3'])} some position`,
    ],
    ['zeros', `${percent(overall.sparsity)} of the weights`],
    ['entropy', `${overall.entropyNormalised.toFixed(3)} of that of uniform attention`],
    ['value norms', `${overall.valueNormRatio.toFixed(2)} times the mean at the strongest position`],
    [
      'largest activation',
      `${peak.peak.value.toFixed(0)}, after ${peak.layer} layers, at position ${peak.peak.position}, channel ${peak.peak.channel}`,
    ],
  ]);
}

function layersText({ layers, hidden }: AttentionSummary): string {
  const largest = (layer: number) =>
    Math.max(...hidden.filter((entry) => entry.layer === layer).map((entry) => entry.largestActivation));
  const row = ({ layer, overall }: LayerMetrics) => [
    String(layer),
    overall.firstTokenWeight.toFixed(3),
    percent(overall.sinkRate['0.3']),
    overall.strongestPositionWeight.toFixed(3),
    percent(overall.sparsity),
    overall.entropyNormalised.toFixed(3),
    overall.valueNormRatio.toFixed(2),
    largest(layer).toFixed(1),
  ];
  return table([
    ['layer', 'first token', 'sinks', 'strongest', 'zeros', 'entropy', 'value norm', 'largest activation'],
    ...layers.map(row),
  ]);
}

function headsText({ layers }: AttentionSummary, telling: Inspection['telling']): string {
  const find = (layer: number, head: number) =>
    layers.find((entry) => entry.layer === layer)?.heads.find((entry) => entry.head === head) as HeadMetrics;
  return table([
    ['layer.head', 'strongest position', 'weight on it', 'on the first token', 'zeros', 'value norm'],
    ...telling.slice(0, LISTED).map(({ layer, head }) => {
      const metrics = find(layer, head);
      return [
        `${layer}.${head}`,
        String(metrics.strongestPosition),
        metrics.strongestPositionWeight.toFixed(3),
        metrics.firstTokenWeight.toFixed(3),
        percent(metrics.sparsity),
        metrics.valueNormRatio.toFixed(2),
      ];
    }),
  ]);
}
