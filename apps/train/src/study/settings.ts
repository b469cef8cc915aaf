import type { RunRecord } from '../run/record.ts';

/** What a table says of the runs that it is made of. */
export function settingsOf({
  preset,
  model,
  training,
  data,
  environment,
}: RunRecord): Readonly<Record<string, string | number>> {
  return {
    preset,
    data: data.source,
    context: model.context,
    steps: training.steps,
    batch: training.batch,
    learningRate: training.learningRate,
    backend: environment.backend,
    device: environment.device,
    node: environment.node,
  };
}
