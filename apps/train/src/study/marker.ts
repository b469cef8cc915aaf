import { openDataset } from '../training/data.ts';
import { evaluationOf, measureAttention } from '../training/evaluate.ts';
import type { Measurement } from './table.ts';
import type { TrainedRun } from './trained.ts';

/** Mean weight above which a position is a sink. */
const SINK = 0.3;

/** Where the marker of the task stands by default, counted from 1. */
const POSITIONS = [1, 2, 5, 9];

/** The weight that heads give the marker, with the marker at one position in all sequences. */
export async function moveMarker({
  backend,
  model,
  params,
  record,
  figures,
  signal,
}: TrainedRun): Promise<Measurement[]> {
  const { source, options } = record.data;
  const { loss } = await figures();
  const rows: Measurement[] = [];
  for (const position of options.markerPositions ?? POSITIONS) {
    const { validation, train } = await openDataset(
      source,
      { ...options, markerPositions: [position] },
      { context: record.model.context, validation: record.data.validation },
    );
    const attention = await measureAttention(backend, model, params, validation ?? train, {
      ...evaluationOf(record),
      positions: position,
      signal,
    });
    if (attention === null) continue;
    const heads = attention.layers.flatMap((layer) => layer.heads);
    const weights = heads.map(({ positionWeights }) => positionWeights[position - 1] ?? 0);
    const share = (count: number) => count / heads.length;
    rows.push({
      key: [position],
      figures: {
        loss,
        markerWeight: share(weights.reduce((sum, x) => sum + x, 0)),
        largestMarkerWeight: Math.max(...weights),
        sinkRateOnMarker: share(weights.filter((x) => x > SINK).length),
        strongestIsMarker: share(heads.filter((head) => head.strongestPosition === position - 1).length),
        firstTokenWeight: attention.overall.firstTokenWeight,
      },
    });
  }
  return rows;
}
