import type { Backend } from '@lazy-attention/core';
import { AnalysisError } from './errors.ts';
import { type Held, heldCall, release } from './meter/held.ts';
import { type AttentionMapInProgress, type LayerTally, layerTally, measureLayer, openMaps } from './meter/layer.ts';
import { isMeasurable, measureResidual } from './meter/residual.ts';
import { checkSettings, type MeterOptions } from './meter/settings.ts';
import { type HiddenTally, hiddenTally } from './metrics/hidden.ts';
import {
  type AttentionSummary,
  headMetrics,
  hiddenMetrics,
  type LayerMetrics,
  meanMetrics,
} from './metrics/summary.ts';
import type { OpsObserver } from './observe.ts';

/** An observer for `observe` that measures what it sees (docs/metrics.md). */
export interface AttentionMeter extends Required<OpsObserver> {
  /** Whether any attention was seen: a model without weights (gated DeltaNet) has none. */
  readonly measured: boolean;
  /** Measures what was observed since the last flush, in chunks of query rows, and lets go of it. */
  flush(): Promise<void>;
  /** Everything measured so far, as JSON. Throws `AnalysisError` `NOT_MEASURED` when that is nothing. */
  summary(): AttentionSummary;
  /** Lets go of what was observed and not measured. */
  dispose(): void;
}

/** An observer for `observe` that measures attention and the residual stream. `backend` is the one that the model runs on. */
export function createAttentionMeter(backend: Backend, options: MeterOptions = {}): AttentionMeter {
  const settings = checkSettings(options);
  const layers = new Map<number, LayerTally>();
  const hidden = new Map<number, HiddenTally>();
  const maps: AttentionMapInProgress[] = [];
  const held: Held = { attentions: [], residuals: [] };
  let sequences = 0;
  let tokens = 0;

  const measure = async () => {
    for (const { layer, call } of held.attentions) {
      const tally = layers.get(layer) ?? layerTally(layer, call, settings);
      layers.set(layer, tally);
      const opened = sequences === 0 && settings.maps !== null ? openMaps(settings.maps, layer, call.q.shape[2]) : [];
      maps.push(...opened);
      await measureLayer(backend, tally, call, settings, opened);
    }
    const call = held.attentions[0]?.call;
    for (const kept of held.residuals) {
      if (settings.hidden === null || !isMeasurable(kept.x.shape, call)) continue;
      const tally = hidden.get(kept.index) ?? hiddenTally(kept.index, kept.layer);
      hidden.set(kept.index, tally);
      await measureResidual(kept, tally, call, settings.hidden);
    }
    sequences += call?.q.shape[0] ?? 0;
    tokens += (call?.q.shape[0] ?? 0) * (call?.q.shape[1] ?? 0);
  };

  return {
    get measured() {
      return layers.size > 0;
    },
    held: () => [held.attentions, held.residuals],
    onAttention(layer, call) {
      held.attentions.push({ layer, call: heldCall(backend, call) });
    },
    onHidden(index, x, layer) {
      if (settings.hidden === null || x.shape.length > 3) return; // four axes: a norm over heads, not the residual stream
      // A copy: a model may add to its residual stream in place (`matmul` with `accumulate`).
      held.residuals.push({ index, layer, x: backend.scale(x, 1) });
    },
    async flush() {
      try {
        await measure();
      } finally {
        release(held);
      }
    },
    summary() {
      if (layers.size === 0) {
        throw new AnalysisError(
          'NOT_MEASURED',
          'summary: nothing was measured; run the model on observe(backend, meter), then await meter.flush()',
        );
      }
      return summarise([...layers.values()], [...hidden.values()], settings.epsilons, { maps, sequences, tokens });
    },
    dispose: () => release(held),
  };
}

function summarise(
  layers: readonly LayerTally[],
  hidden: readonly HiddenTally[],
  epsilons: readonly number[],
  { maps, sequences, tokens }: Pick<AttentionSummary, 'maps' | 'sequences' | 'tokens'>,
): AttentionSummary {
  const measured = [...layers].sort((a, b) => a.layer - b.layer).map((layer) => summariseLayer(layer, epsilons));
  const heads = measured.flatMap((layer) => layer.heads);
  return {
    overall: {
      ...meanMetrics(heads, epsilons),
      minLayerSparsity: Math.min(...measured.map((layer) => layer.overall.sparsity)),
    },
    layers: measured,
    hidden: [...hidden].sort((a, b) => a.index - b.index).map(hiddenMetrics),
    maps: maps.map(({ layer, head, weights }) => ({ layer, head, weights })),
    sequences,
    tokens,
  };
}

function summariseLayer({ layer, heads, values, tau, bias }: LayerTally, epsilons: readonly number[]): LayerMetrics {
  const group = heads.length / values.length;
  const measured = heads.map((tally, head) =>
    headMetrics(head, tally, values[Math.floor(head / group)], tau?.[head] ?? null, bias?.[head] ?? null),
  );
  return { layer, overall: meanMetrics(measured, epsilons), heads: measured };
}
