import type { AttentionSummary } from '@lazy-attention/analysis';

/** Figures of a model by name, as docs/metrics.md defines them; null for what its kind of attention has not. */
export type Figures = Readonly<Record<string, number | null>>;

/** The figures of a trained model that comparisons and studies put into tables: loss, heads and residual stream. */
export function figuresOf(loss: number | null, attention: AttentionSummary | null): Figures {
  return { loss, ...(attention === null ? {} : { ...headFigures(attention), ...hiddenFigures(attention) }) };
}

function headFigures({ overall, layers }: AttentionSummary): Figures {
  const heads = layers.flatMap((layer) => layer.heads);
  // The head that parks the most on the first token shows what the token's value is like there.
  const sink = heads.reduce((most, head) => (head.firstTokenWeight > most.firstTokenWeight ? head : most), heads[0]);
  return {
    sparsity: overall.sparsity,
    minLayerSparsity: overall.minLayerSparsity,
    firstTokenWeight: overall.firstTokenWeight,
    firstTokenWeightNormalised: overall.firstTokenWeightNormalised,
    largestFirstTokenWeight: sink.firstTokenWeight,
    ...rates('sinkRate', overall.sinkRate),
    ...rates('sinkRateNormalised', overall.sinkRateNormalised),
    ...rates('sinkRateAnywhere', overall.sinkRateAnywhere),
    strongestPositionWeight: overall.strongestPositionWeight,
    valueNormRatio: overall.valueNormRatio,
    valueNormRatioOfSink: sink.valueNormRatio,
    rowMass: overall.rowMass,
    survivingMass: overall.survivingMass,
  };
}

/** Of the depth where each is the most extreme. */
function hiddenFigures({ hidden }: AttentionSummary): Figures {
  if (hidden.length === 0) return {};
  const most = (of: (at: AttentionSummary['hidden'][number]) => number) => Math.max(...hidden.map(of));
  return {
    firstTokenNormRatio: most((at) => at.firstTokenNormRatio),
    kurtosis: most((at) => at.kurtosis),
    largestActivation: most((at) => at.largestActivation),
  };
}

function rates(name: string, by: Readonly<Record<string, number>>): Figures {
  return Object.fromEntries(Object.entries(by).map(([epsilon, rate]) => [`${name}@${epsilon}`, rate]));
}
