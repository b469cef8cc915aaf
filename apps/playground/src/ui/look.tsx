import { useState } from 'preact/hooks';
import { rowStart } from '../engine/view.ts';
import { look, moveTau, write } from '../state/actions.ts';
import {
  forgetText,
  headOf,
  headPlace,
  kinds,
  looked,
  row,
  rows,
  status,
  tau,
  tauHead,
  text,
  tokens,
  views,
} from '../state/store.ts';
import { kindColor, kindLabel } from './palette.ts';

/** Pixels between two tokens of the arcs, at least; longer tokens stand further apart, up to a limit. */
const STEP = 22;
const HEIGHT = 120;
/** The row that is shown before one is chosen: its arcs fit on a phone. */
const FIRST_ROW = 12;

/** One token's row in both models, as arcs and numbers; tau; what comes next. */
export function Look() {
  return (
    <section class="panel" id="look" aria-labelledby="look-title">
      <h2 id="look-title">Look closer</h2>
      <p class="lead">
        Point at a row of a map, or choose a token. Its arcs show where the head looks; sand says that a weight is
        exactly zero.
      </p>
      <Choices />
      <div class="pair">
        <Arcs side={0} />
        <Arcs side={1} />
      </div>
      <Text />
      <div class="pair">
        {/* Each in a place of its own: what only one side has must not stand under the other. */}
        <div>
          <Next side={0} />
          <Bias side={0} />
        </div>
        <div>
          <Next side={1} />
          <Bias side={1} />
        </div>
      </div>
    </section>
  );
}

function Choices() {
  const value = tau.value ?? tauHead.value?.tau ?? null;
  const { layer, head } = tauHead.value ?? headPlace.value;
  return (
    <div class="choices">
      <fieldset>
        <legend class="sr">Weights</legend>
        {(['raw', 'normalised'] as const).map((name) => (
          <label key={name}>
            <input
              type="radio"
              name="rows"
              checked={rows.value === name}
              onChange={() => {
                rows.value = name;
              }}
            />
            {name === 'raw' ? 'weights as they are' : 'each row made to sum to one'}
          </label>
        ))}
      </fieldset>
      {value !== null && (
        <label class="tau" id="tau">
          <span>
            τ of head {layer}.{head} <output data-testid="tau">{value.toFixed(2)}</output>
          </span>
          <input
            type="range"
            min={-6}
            max={1}
            step={0.05}
            value={value}
            onInput={({ currentTarget }) => moveTau(Number(currentTarget.value))}
          />
          <button type="button" disabled={tau.value === null} onClick={() => moveTau(null)}>
            as trained
          </button>
        </label>
      )}
    </div>
  );
}

function Arcs({ side }: { readonly side: 0 | 1 }) {
  const kind = kinds.value[side];
  const head = headOf(views.value[side]);
  const names = tokens.value[side];
  if (head === null || names.length === 0) return <p class="nothing">{kindLabel(kind)}: nothing to look at.</p>;
  const i = Math.min(row.value ?? Math.min(names.length - 1, FIRST_ROW), names.length - 1);
  const weights = Array.from(head.weights.subarray(rowStart(i), rowStart(i + 1)));
  const step = Math.max(STEP, Math.min(72, 8 + 8 * Math.max(...names.map(({ length }) => length))));
  const zeros = weights.filter((w) => w === 0).length;
  const most = weights
    .map((w, j) => ({ w, j }))
    .sort((a, b) => b.w - a.w)
    .filter(({ w }) => w >= 0.005)
    .slice(0, 4);
  return (
    <figure class="arcs" style={{ '--accent': kindColor(kind) }}>
      <figcaption>
        <b>{kindLabel(kind)}</b>, token {i} <code>{names[i]}</code> looks at{' '}
        {most.length === 0
          ? zeros === i + 1
            ? 'nothing'
            : 'none in particular'
          : most.map(({ w, j }) => `${names[j]} (${j}) ${w.toFixed(2)}`).join(', ')}
        ; {zeros} of {i + 1} weights are zero.
      </figcaption>
      <section class="strip" aria-label={`Tokens, ${kindLabel(kind)}`}>
        <svg width={names.length * step + 8} height={HEIGHT} aria-hidden="true">
          {weights.map(
            (w, j) =>
              w > 0.002 &&
              j < i && (
                <path
                  key={j}
                  class="arc"
                  d={arc(j, i, step)}
                  style={{ opacity: 0.15 + 0.85 * Math.sqrt(Math.min(1, w)), strokeWidth: 0.8 + 7 * Math.min(1, w) }}
                />
              ),
          )}
        </svg>
        <div class="tokens" style={{ '--step': `${step}px` }}>
          {names.map((name, j) => (
            <button
              key={j}
              type="button"
              aria-pressed={i === j}
              tabIndex={i === j ? 0 : -1}
              class={j > i ? 'later' : weights[j] === 0 ? 'zero' : ''}
              onClick={() => {
                row.value = j;
              }}
              onPointerEnter={() => {
                row.value = j;
              }}
              onKeyDown={(event) => stepRow(event, j, names.length)}
            >
              {name}
            </button>
          ))}
        </div>
      </section>
    </figure>
  );
}

function stepRow(event: KeyboardEvent, j: number, count: number): void {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (move === undefined) return;
  event.preventDefault();
  row.value = Math.max(0, Math.min(count - 1, j + move));
  const buttons = (event.currentTarget as HTMLElement).parentElement?.querySelectorAll('button');
  buttons?.[row.value]?.focus();
}

function arc(from: number, to: number, step: number): string {
  const [a, b] = [from * step + step / 2, to * step + step / 2];
  const height = Math.min(HEIGHT - 8, 12 + (b - a) / 3.2);
  return `M${a} ${HEIGHT}C${a} ${HEIGHT - height * 1.3} ${b} ${HEIGHT - height * 1.3} ${b} ${HEIGHT}`;
}

function Text() {
  const [written, setWritten] = useState('');
  const [busy, setBusy] = useState(false);
  const writeOn = async (side: 0 | 1) => {
    setBusy(true);
    let all = `${kindLabel(kinds.value[side])}: ${text.value}`;
    setWritten(all);
    await write(side, text.value === '' ? 'the' : text.value, (piece) => {
      all += piece;
      setWritten(all);
    });
    setBusy(false);
  };
  return (
    <form
      class="text"
      id="text"
      onSubmit={(event) => {
        event.preventDefault();
        void look();
      }}
    >
      <label>
        <span>Your text, in both models</span>
        <textarea
          rows={2}
          value={text.value}
          placeholder="callmeishmaelsomeyearsago"
          onInput={({ currentTarget }) => {
            text.value = currentTarget.value;
          }}
          data-testid="text"
        />
      </label>
      <div class="buttons">
        <button type="submit" class="primary" data-testid="look">
          Look at it
        </button>
        {looked.value !== null && (
          <button
            type="button"
            onClick={() => {
              text.value = '';
              forgetText();
            }}
          >
            The training's own text
          </button>
        )}
        <button type="button" disabled={busy} onClick={() => void writeOn(0)}>
          Write on, left
        </button>
        <button type="button" disabled={busy} onClick={() => void writeOn(1)}>
          Write on, right
        </button>
        <span class="soft" role="status">
          {status.value}
        </span>
      </div>
      {written !== '' && (
        <p class="written" aria-live="polite" data-testid="written">
          {written}
        </p>
      )}
    </form>
  );
}

function Next({ side }: { readonly side: 0 | 1 }) {
  const found = looked.value?.sides[side];
  if (!found) return null;
  const kind = kinds.value[side];
  return (
    <figure class="next" style={{ '--accent': kindColor(kind) }}>
      <figcaption>{kindLabel(kind)}: what comes next</figcaption>
      <ol>
        {found.next
          .filter(({ probability }, n) => n < 3 || probability >= 0.005)
          .map(({ token, probability }, n) => (
            <li key={n}>
              <code>{token}</code>
              <span class="bar">
                <i style={{ width: `${100 * probability}%` }} />
              </span>
              <span>{probability < 0.005 ? '< 1' : (100 * probability).toFixed(0)} %</span>
            </li>
          ))}
      </ol>
    </figure>
  );
}

/** What training made of bias and tau, where a kind has them. */
function Bias({ side }: { readonly side: 0 | 1 }) {
  const view = views.value[side];
  const head = headOf(view);
  const bias = head?.bias?.slice(0, 64) ?? null;
  const taus = view?.heads.filter(({ tau: of }) => of !== null) ?? [];
  if (bias === null && taus.length === 0) return null;
  const kind = kinds.value[side];
  const [least, most] = [Math.min(0, ...(bias ?? [])), Math.max(0.1, ...(bias ?? []))];
  const y = (value: number) => 60 - (56 * (value - least)) / (most - least);
  return (
    <figure class="bias" style={{ '--accent': kindColor(kind) }}>
      {bias !== null && (
        <>
          <figcaption>
            {kindLabel(kind)}: bias from 0 to {bias.length - 1} tokens back, between {least.toFixed(1)} and{' '}
            {most.toFixed(1)}
          </figcaption>
          <svg
            viewBox="0 0 256 64"
            preserveAspectRatio="none"
            role="img"
            aria-label={`Bias at distance 0: ${bias[0]?.toFixed(2)}; at ${bias.length - 1}: ${bias.at(-1)?.toFixed(2)}`}
          >
            <path class="axis" d={`M0 ${y(0)}H256`} />
            <path
              class="curve"
              d={`M${bias.map((value, d) => `${(4 * d).toFixed(1)} ${y(value).toFixed(1)}`).join('L')}`}
            />
          </svg>
        </>
      )}
      {taus.length > 0 && (
        <p class="soft">
          τ by head:{' '}
          {taus
            .slice(0, 16)
            .map(({ layer, head: number, tau: of }) => `${layer}.${number} ${of?.toFixed(2)}`)
            .join(' · ')}
        </p>
      )}
    </figure>
  );
}
