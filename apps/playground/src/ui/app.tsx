import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { frame, headPlace, looked, mode, opened, problem, shown, training } from '../state/store.ts';
import { chosenTheme, theme } from '../state/theme.ts';
import { Controls } from './controls.tsx';
import { Curves } from './curves.tsx';
import { later } from './later.ts';
import { Look } from './look.tsx';
import { Own } from './own.tsx';
import { Share } from './share.tsx';
import { Side } from './side.tsx';
import { Tour, tour } from './tour.tsx';
import { Transport } from './transport.tsx';
import { Words } from './words.tsx';

/** What lies below the first view, once that is painted: all at once would hold the page while it opens. */
function AfterThat({ children }: { readonly children: ComponentChildren }) {
  const [due, setDue] = useState(false);
  useEffect(() => later(() => setDue(true)), []);
  return due ? children : null;
}

/** The name, the tour and the theme. */
function Top() {
  return (
    <header class="top">
      <p class="name">lazy-attention</p>
      <nav aria-label="Page">
        <button
          type="button"
          onClick={() => {
            tour.value = 0;
          }}
        >
          Tour
        </button>
        <button
          type="button"
          onClick={() => {
            chosenTheme.value = theme() === 'dark' ? 'light' : 'dark';
          }}
        >
          {theme() === 'dark' ? 'Light' : 'Dark'}
        </button>
      </nav>
    </header>
  );
}

/** The page. */
export function App() {
  const { layer, head } = headPlace.value;
  return (
    <>
      <a class="skip" href="#main">
        To the figure
      </a>
      <Top />
      <main id="main">
        <h1>One grows a sink. The other does not.</h1>
        <p class="lead">
          Two small language models, alike but for their attention, learn the same letters. Softmax ends up staring at
          the first token. Lazy Attention may give a weight of exactly zero, and has no need to.
        </p>
        {problem.value !== '' && (
          <div class="problem" role="alert" data-testid="problem">
            <p>{problem.value}</p>
            <button
              type="button"
              onClick={() => {
                problem.value = '';
              }}
            >
              Close
            </button>
          </div>
        )}
        <div class="stage" data-step={frame.value?.step ?? -1} data-training={training.value}>
          <Transport />
          <Controls />
          <p class="caption">
            {looked.value === null && mode.value === 'replay' && <>A recorded training on Bigram-Backcopy. </>}
            Layer {layer}, head {head}
            {looked.value === null
              ? `, on ${shown.value?.tokens.length ?? 0} tokens of held-out text`
              : ', on your text'}
            . One row a token, one column a token that it may look at. <span class="swatch" /> exactly zero
          </p>
          <div class="sides">
            <Side side={0} />
            <Side side={1} />
          </div>
          {opened.value.every((model) => model === null) && <Curves />}
        </div>
        <AfterThat>
          <Look />
          <AfterThat>
            <Words />
            <AfterThat>
              <Own />
              <Share />
            </AfterThat>
          </AfterThat>
        </AfterThat>
      </main>
      <footer>
        <p>Everything is computed in this page; nothing is sent anywhere. Apache-2.0.</p>
      </footer>
      <Tour />
    </>
  );
}
