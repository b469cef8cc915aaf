import { useEffect, useState } from 'preact/hooks';
import { rowsOf, type SideView } from '../engine/view.ts';
import {
  chosenHead,
  frame,
  type HeadPlace,
  headOf,
  headPlace,
  kinds,
  looked,
  opened,
  shown,
  tau,
  views,
} from '../state/store.ts';
import { later } from './later.ts';
import { AttentionMap } from './map.tsx';
import { kindColor, kindLabel } from './palette.ts';

/** Thumbnails that are put into the page at once; those of a large model come piece by piece. */
const PIECE = 32;

/** One of the two models: its figures, the map of the chosen head, and all heads as thumbnails. */
export function Side({ side }: { readonly side: 0 | 1 }) {
  const kind = kinds.value[side];
  const view = views.value[side];
  const head = headOf(view);
  const model = opened.value[side];
  return (
    <section class="side" aria-labelledby={`side-${side}`} style={{ '--accent': kindColor(kind) }} data-side={side}>
      <h2 id={`side-${side}`}>{model === null ? kindLabel(kind) : model.name}</h2>
      <div class="picture">
        {view !== null && head !== null && (
          <div class="facts">
            <p class="figure">
              <strong data-testid={`first-${side}`}>{head.firstTokenWeight.toFixed(2)}</strong>
              <span>mean weight of this head on the first token</span>
            </p>
            <Figures view={view} side={side} />
          </div>
        )}
        {head === null || head.weights.length === 0 ? (
          <p class="nothing">{nothing(view, side)}</p>
        ) : (
          <>
            <AttentionMap weights={head.weights} kind={kind} label={described(kindLabel(kind), head)} pointed />
            <p class="foot soft" aria-hidden="true">
              ↑ first token{head.firstTokenWeight > 0.3 && <b>, a sink</b>}
              {elsewhere(head) && ` (here layer ${head.layer}, head ${head.head})`}
            </p>
          </>
        )}
      </div>
      {view !== null && <Thumbnails view={view} kind={kind} />}
    </section>
  );
}

/** Whether a side shows another head than the chosen one, which it has not. */
function elsewhere({ layer, head }: HeadPlace): boolean {
  const place = headPlace.value;
  return layer !== place.layer || head !== place.head;
}

function nothing(view: SideView | null, side: 0 | 1): string {
  if (view !== null || looked.value?.sides[side]) return 'This kind of attention has no weights to show.';
  return looked.value === null ? 'Waiting for the first look.' : 'No model on this side.';
}

function described(label: string, head: NonNullable<ReturnType<typeof headOf>>): string {
  const { layer, head: number, firstTokenWeight, sparsity, weights } = head;
  return `${label}, layer ${layer}, head ${number}: ${rowsOf(weights)} tokens; ${(100 * firstTokenWeight).toFixed(0)} percent of the weight on the first token, ${(100 * sparsity).toFixed(0)} percent of the weights exactly zero`;
}

/** A share in percent; only what is exactly all or nothing is 100 or 0. */
function percent(share: number): string {
  if (share === 0 || share === 1) return `${100 * share} %`;
  const shown = Number((100 * share).toFixed(share > 0.99 || share < 0.01 ? 1 : 0));
  if (shown === 0) return '< 0.1 %';
  return shown === 100 ? '> 99.9 %' : `${shown} %`;
}

function Figures({ view, side }: { readonly view: SideView; readonly side: 0 | 1 }) {
  const losses = looked.value === null ? shown.value?.losses : undefined;
  const now = losses?.steps.findLastIndex((step) => step <= (frame.value?.step ?? 0)) ?? -1;
  const loss = losses?.values[side][now];
  return (
    <dl class="figures">
      <div>
        <dt>weights exactly zero, all heads</dt>
        <dd>{percent(view.sparsity)}</dd>
      </div>
      <div>
        <dt>heads above 0.3</dt>
        <dd>{percent(view.sinkRate)}</dd>
      </div>
      <div>
        <dt>first token, mean of all heads</dt>
        <dd>{view.firstTokenWeight.toFixed(3)}</dd>
      </div>
      {loss !== undefined && (
        <div>
          <dt>loss, nats a token</dt>
          <dd>{loss.toFixed(3)}</dd>
        </div>
      )}
    </dl>
  );
}

function Thumbnails({ view, kind }: { readonly view: SideView; readonly kind: string }) {
  const place = headPlace.value;
  const [count, setCount] = useState(PIECE);
  const missing = count < view.heads.length;
  useEffect(() => (missing ? later(() => setCount((before) => before + PIECE)) : undefined), [missing, count]);
  return (
    <ul class="thumbnails" aria-label={`Heads, ${kindLabel(kind)}`}>
      {view.heads.slice(0, count).map(({ layer, head, weights, firstTokenWeight }) => (
        <li key={`${layer}.${head}`}>
          <button
            type="button"
            aria-pressed={layer === place.layer && head === place.head}
            aria-label={`${layer}.${head} ${firstTokenWeight.toFixed(2)}: layer ${layer}, head ${head}, weight on the first token`}
            onClick={() => {
              chosenHead.value = { layer, head };
              tau.value = null;
            }}
          >
            <AttentionMap weights={weights} kind={kind} />
            <span aria-hidden="true">
              {layer}.{head} <b>{firstTokenWeight.toFixed(2)}</b>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}
