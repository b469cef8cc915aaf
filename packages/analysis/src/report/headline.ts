import { type Arm, pairedDifference, type Scenario, type Spread, spread } from './aggregate.ts';
import { EXPECTED, PAPER, type ReportRun } from './data.ts';
import { type Html, html, join } from './html.ts';
import { armOf, kindVariable, shownKind } from './kinds.ts';

const loss = (run: ReportRun) => run.final?.loss;

/** The table that stands beside the paper's figures. */
export function headlineTable({ arms, name }: Scenario): Html {
  const softmax = armOf(arms, 'reference');
  const rows = arms.map((arm) => {
    const overall = (figure: (of: NonNullable<ReportRun['attention']>['overall']) => number) =>
      spread(arm.runs, (run) => (run.attention === null ? null : figure(run.attention.overall)));
    const difference = softmax === undefined || arm === softmax ? null : pairedDifference(arm, softmax, loss);
    const finished = arm.runs.filter(({ final }) => final !== null).length;
    return html`<tr${shownKind(arm.kind).role === 'subject' ? html` class="ours"` : html``}>
      <th scope="row"><span class="dot" style="background: var(${kindVariable(arm.kind)})"></span>${arm.name}
        <small>${finished} of ${arm.runs.length} ${arm.runs.length === 1 ? 'run' : 'runs'} finished</small></th>
      ${cell(spread(arm.runs, loss), (x) => x.toFixed(4))}
      ${cell(difference, signed)}
      ${cell(
        spread(arm.runs, (run) => run.final?.perplexity),
        (x) => x.toFixed(3),
      )}
      ${cell(
        spread(arm.runs, (run) => run.final?.bitsPerByte),
        (x) => x.toFixed(4),
      )}
      ${cell(
        overall((of) => of.sparsity),
        percent,
      )}
      ${cell(
        overall((of) => of.minLayerSparsity),
        percent,
      )}
      ${cell(
        overall((of) => of.firstTokenWeight),
        (x) => x.toFixed(4),
      )}
      ${cell(
        overall((of) => of.sinkRate['0.3']),
        percent,
      )}
    </tr>`;
  });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Headline figures of ${name}, scrollable">
    <table class="headline">
      <caption>Mean over the seeds ± standard deviation, on held-out text</caption>
      <thead><tr>
        <th scope="col">Attention</th><th scope="col">Validation loss <small>nats per token</small></th>
        <th scope="col">Less softmax <small>same seeds</small></th><th scope="col">Perplexity</th>
        <th scope="col">Bits per byte</th><th scope="col">Weights exactly 0</th><th scope="col">In the layer with fewest</th>
        <th scope="col">First-token weight</th><th scope="col">Sink rate <small>above 0.3</small></th>
      </tr></thead>
      <tbody>${join(rows)}</tbody>
      <tfoot><tr><th scope="row">Paper <small>trained on FineWeb-Edu</small></th>
        <td>on a par</td><td>—</td><td>on a par</td><td>—</td><td>up to ${percent(PAPER.sparsity)}</td><td>—</td>
        <td>no sink</td><td>no sink</td></tr></tfoot>
    </table></div>`;
}

/** Lazy beside softmax in every scenario: the trend with length and size. */
export function trendTable(scenarios: readonly Scenario[]): Html {
  const rows = scenarios.map(({ name, arms }) => {
    const lazy = armOf(arms, 'subject');
    const softmax = armOf(arms, 'reference');
    const of = (arm: Arm | undefined, figure: (overall: Overall) => number) =>
      arm === undefined ? null : attentionFigure(arm, figure);
    const difference = lazy === undefined || softmax === undefined ? null : pairedDifference(lazy, softmax, loss);
    return html`<tr><th scope="row">${name}</th>
      ${cell(softmax === undefined ? null : spread(softmax.runs, loss), (x) => x.toFixed(4))}
      ${cell(lazy === undefined ? null : spread(lazy.runs, loss), (x) => x.toFixed(4))}
      ${cell(difference, signed)}
      ${cell(
        of(lazy, ({ sparsity }) => sparsity),
        percent,
      )}
      ${cell(
        of(softmax, ({ firstTokenWeight }) => firstTokenWeight),
        (x) => x.toFixed(4),
      )}
      ${cell(
        of(lazy, ({ firstTokenWeight }) => firstTokenWeight),
        (x) => x.toFixed(4),
      )}
      ${cell(
        of(softmax, ({ sinkRate }) => sinkRate['0.3']),
        percent,
      )}
      ${cell(
        of(lazy, ({ sinkRate }) => sinkRate['0.3']),
        percent,
      )}
    </tr>`;
  });
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Lazy beside softmax in every scenario, scrollable">
    <table class="headline"><caption>Lazy beside softmax in every scenario. Losses of different scenarios are no fair comparison</caption>
      <thead><tr><th scope="col">Scenario</th><th scope="col">Loss, softmax</th><th scope="col">Loss, lazy</th>
        <th scope="col">Difference <small>same seeds</small></th><th scope="col">Weights exactly 0, lazy</th>
        <th scope="col">First-token weight, softmax</th><th scope="col">First-token weight, lazy</th>
        <th scope="col">Sink rate, softmax</th><th scope="col">Sink rate, lazy</th></tr></thead>
      <tbody>${join(rows)}</tbody></table></div>`;
}

/** A claim of the paper, and what these runs say of it. */
export interface Verdict {
  /** In a sentence. */
  readonly claim: string;
  /** In a sentence, with figures. */
  readonly found: string;
  /** null: cannot be said from these runs. */
  readonly met: boolean | null;
}

/** What the paper leads one to expect of Lazy Attention, and what came out, met or not. */
export function verdicts({ arms }: Scenario): Verdict[] {
  const lazy = armOf(arms, 'subject');
  const softmax = armOf(arms, 'reference');
  if (lazy === undefined) return [];
  const difference = softmax === undefined ? null : pairedDifference(lazy, softmax, loss);
  const sparsity = attentionFigure(lazy, (of) => of.minLayerSparsity);
  const first = attentionFigure(lazy, (of) => of.firstTokenWeight);
  const baseline = softmax === undefined ? null : attentionFigure(softmax, (of) => of.firstTokenWeight);
  return [
    verdict(
      `Validation loss at most ${EXPECTED.lossAboveSoftmax} nats above softmax`,
      difference,
      (x) => `${signed(x)} nats`,
      (x) => x <= EXPECTED.lossAboveSoftmax,
    ),
    verdict(
      `${percent(EXPECTED.layerSparsity, 0)} or more of the weights exactly 0 in every layer`,
      sparsity,
      (x) => `${percent(x)} in the layer with the fewest`,
      (x) => x >= EXPECTED.layerSparsity,
    ),
    verdict(
      `Mean weight on the first token under ${EXPECTED.firstTokenWeight}`,
      first,
      (x) => `${x.toFixed(4)}${baseline === null ? '' : `; softmax here: ${baseline.mean.toFixed(4)}`}`,
      (x) => x < EXPECTED.firstTokenWeight,
    ),
  ];
}

/** The four figures at the top of the page. */
export function keyFigures({ arms }: Scenario): { value: string; label: string; beside: string }[] {
  const lazy = armOf(arms, 'subject');
  if (lazy === undefined) return [];
  const softmax = armOf(arms, 'reference');
  const show = (figure: Spread | null, format: (x: number) => string) => (figure === null ? '–' : format(figure.mean));
  const beside = (figure: (of: Overall) => number, format: (x: number) => string) =>
    softmax === undefined ? '' : `softmax ${show(attentionFigure(softmax, figure), format)}`;
  const weight = (x: number) => x.toFixed(x < 0.01 ? 4 : 3);
  return [
    {
      value: show(
        attentionFigure(lazy, (of) => of.sparsity),
        percent,
      ),
      label: 'of the weights are exactly zero',
      beside: `paper: up to ${percent(PAPER.sparsity)}`,
    },
    {
      value: show(
        attentionFigure(lazy, (of) => of.firstTokenWeight),
        weight,
      ),
      label: 'mean weight on the first token',
      beside: beside((of) => of.firstTokenWeight, weight),
    },
    {
      value: show(
        attentionFigure(lazy, (of) => of.sinkRate['0.3']),
        (x) => percent(x, 0),
      ),
      label: 'of the heads are sinks',
      beside: beside(
        (of) => of.sinkRate['0.3'],
        (x) => percent(x, 0),
      ),
    },
    {
      value: show(
        softmax === undefined ? spread(lazy.runs, loss) : pairedDifference(lazy, softmax, loss),
        softmax === undefined ? (x) => x.toFixed(3) : signed,
      ),
      label:
        softmax === undefined ? 'validation loss, nats per token' : 'nats per token beside softmax; negative is better',
      beside:
        softmax === undefined
          ? ''
          : `lazy ${show(spread(lazy.runs, loss), (x) => x.toFixed(3))}, softmax ${show(spread(softmax.runs, loss), (x) => x.toFixed(3))}`,
    },
  ];
}

type Overall = NonNullable<ReportRun['attention']>['overall'];

function attentionFigure(arm: Arm, figure: (of: Overall) => number): Spread | null {
  return spread(arm.runs, (run) => (run.attention === null ? null : figure(run.attention.overall)));
}

function verdict(
  claim: string,
  figure: Spread | null,
  say: (x: number) => string,
  met: (x: number) => boolean,
): Verdict {
  if (figure === null) return { claim, found: 'not measured in these runs', met: null };
  const seeds = figure.count === 1 ? 'one seed' : `mean of ${figure.count} seeds`;
  return { claim, found: `${say(figure.mean)} (${seeds})`, met: met(figure.mean) };
}

function cell(figure: Spread | null, format: (x: number) => string): Html {
  if (figure === null) return html`<td>–</td>`;
  const deviation =
    figure.deviation === null ? html`` : html` <small>± ${format(figure.deviation).replace('+', '')}</small>`;
  return html`<td>${format(figure.mean)}${deviation}</td>`;
}

function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}

function signed(x: number): string {
  return `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(4)}`;
}
