import type { AttentionConfig, LazyTransformerConfig } from '@lazy-attention/nn';
import { attention, graphWeights, mlp, positions, type ReadWeight, rmsNorm } from './blocks.ts';
import { type Graph, GraphBuilder } from './graph.ts';

export interface GraphOptions {
  /** Positions that the tables hold: the most tokens that a sequence may have, cache included. */
  readonly maxLength: number;
  /** Gives the graph the input `starts`. */
  readonly starts: boolean;
}

const HIDDEN = 'hidden';

/**
 * The whole model. Inputs: `tokens` int32 [batch, length]; `starts` int32 [batch, length]; for each layer
 * `past_key_values.N.key` and `.value` [batch, kvHeads, past, headDim], past may be 0. Outputs: `logits` [batch, length,
 * vocabulary] and `present.N.key` and `.value` [batch, kvHeads, past + length, headDim].
 */
export function modelGraph(config: LazyTransformerConfig, read: ReadWeight, options: GraphOptions): Graph {
  const g = new GraphBuilder();
  const weights = graphWeights(g, read);
  const { hiddenSize, normEpsilon, numLayers, vocabSize } = config;
  const tokens = g.input('tokens', 'int32', ['batch', 'length']);
  const starts = startsInput(g, options);
  const past = Array.from({ length: numLayers }, (_, layer) => pastInputs(g, config, layer));
  const positionsOf = (of: AttentionConfig) => positions(g, of, options.maxLength, tokens, past[0].key, starts);
  const at = positionsOf(config);
  const whole =
    config.slidingWindow === null || config.fullAttentionLayers.length === 0
      ? at
      : positionsOf({ ...config, slidingWindow: null });
  const norm = (x: string, name: string) => rmsNorm(g, x, weights.plain(name, [hiddenSize]), hiddenSize, normEpsilon);

  const embeddings = weights.plain('model.embeddings.weight', [vocabSize, hiddenSize]);
  let x = g.node('Gather', [embeddings, tokens], { axis: 0 });
  const present: Omit<ReturnType<typeof attention>, 'output'>[] = [];
  for (let layer = 0; layer < numLayers; layer++) {
    const prefix = `model.layers.${layer}.`;
    const reach = config.fullAttentionLayers.includes(layer) ? whole : at;
    const own = config.noRopeLayers.includes(layer) ? { ...reach, rotation: null } : reach;
    x = g.scope(`layer.${layer}`, () => {
      const normed = norm(x, `${prefix}attn_norm.weight`);
      const { output, ...keyValue } = attention(g, config, weights, `${prefix}attn.`, normed, past[layer], own);
      present.push(keyValue);
      const attended = g.node('Add', [x, output]);
      const inner = norm(attended, `${prefix}mlp_norm.weight`);
      return g.node('Add', [attended, mlp(g, inner, weights, `${prefix}mlp.`, config)]);
    });
  }
  const head = config.tieEmbeddings
    ? g.node('Transpose', [embeddings], { perm: [1, 0] })
    : weights.linear('lm_head.weight', hiddenSize, vocabSize);
  const logits = g.node('MatMul', [norm(x, 'model.norm.weight'), head]);
  g.output('logits', logits, 'float', ['batch', 'length', vocabSize]);
  for (const [layer, keyValue] of present.entries()) presentOutputs(g, config, layer, keyValue);
  return g.finish();
}

/**
 * One attention layer. Inputs: `hidden` [batch, length, size], `starts`, `past_key_values.0.key` and `.value`; outputs:
 * `output` [batch, length, size], `present.0.key` and `.value`.
 */
export function attentionGraph(config: AttentionConfig, read: ReadWeight, options: GraphOptions): Graph {
  const g = new GraphBuilder();
  const hidden = g.input(HIDDEN, 'float', ['batch', 'length', config.hiddenSize]);
  const starts = startsInput(g, options);
  const past = pastInputs(g, config, 0);
  const at = positions(g, config, options.maxLength, hidden, past.key, starts);
  const { output, ...keyValue } = attention(g, config, graphWeights(g, read), '', hidden, past, at);
  g.output('output', output, 'float', ['batch', 'length', config.hiddenSize]);
  presentOutputs(g, config, 0, keyValue);
  return g.finish();
}

function startsInput(g: GraphBuilder, { starts }: GraphOptions): string | null {
  return starts ? g.input('starts', 'int32', ['batch', 'length']) : null;
}

function pastInputs(g: GraphBuilder, { numKvHeads, headDim }: AttentionConfig, layer: number) {
  const port = (name: string) =>
    g.input(`past_key_values.${layer}.${name}`, 'float', ['batch', numKvHeads, 'past', headDim]);
  return { key: port('key'), value: port('value') };
}

function presentOutputs(
  g: GraphBuilder,
  { numKvHeads, headDim }: AttentionConfig,
  layer: number,
  { key, value }: { key: string; value: string },
): void {
  const dims = ['batch', numKvHeads, 'total', headDim];
  g.output(`present.${layer}.key`, key, 'float', dims);
  g.output(`present.${layer}.value`, value, 'float', dims);
}
