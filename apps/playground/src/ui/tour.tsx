import { batch, signal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { moveTau, showRecording } from '../state/actions.ts';
import { at, forgetText, playing, recording, row, rows } from '../state/store.ts';

/** The step of the tour, or null. */
export const tour = signal<number | null>(null);

interface Stop {
  readonly target: string;
  readonly words: string;
  /** Moves the controls. */
  readonly act: () => void;
}

const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
const last = () => (recording.value?.frames.length ?? 1) - 1;

const STOPS: readonly Stop[] = [
  {
    target: '[data-side="0"] .picture',
    words:
      'Two models at step 0: the same size, the same seed, the same letters. Each row is a token, each column one that it may look at.',
    act: () => {
      showRecording();
      playing.value = false;
      at.value = 0;
    },
  },
  {
    target: '[data-side="0"] .picture',
    words: 'They train. On the left the first column fills with colour: a sink grows. On the right it stays sand.',
    act: () =>
      batch(() => {
        at.value = still() ? last() : 0;
        playing.value = !still();
      }),
  },
  {
    target: '[data-side="1"] .picture',
    words: 'The right head copies as well, but where it has nothing to do its weights are exactly zero: sand.',
    act: () => {
      playing.value = false;
      at.value = last();
      row.value = 12;
    },
  },
  {
    target: '#look',
    words: 'One row by itself: arcs from a token to those it looks at.',
    act: () => {
      row.value = 24;
      rows.value = 'raw';
    },
  },
  {
    target: '#tau',
    words: 'τ decides how much is cut. Raised to zero nothing is cut, and Lazy Attention is softmax again.',
    act: () => moveTau(0),
  },
  {
    target: '[data-testid="train"]',
    words: 'Now train both yourself, on your own GPU. Or open a model of your own below.',
    act: () => {
      forgetText();
    },
  },
];

export function Tour() {
  const box = useRef<HTMLDivElement>(null);
  const step = tour.value;
  const stop = step === null ? undefined : STOPS[step];
  useEffect(() => {
    if (stop === undefined) return;
    stop.act();
    const target = document.querySelector(stop.target);
    target?.classList.add('toured');
    target?.scrollIntoView({ block: 'center', behavior: still() ? 'auto' : 'smooth' });
    box.current?.focus({ preventScroll: true });
    return () => target?.classList.remove('toured');
  }, [stop]);
  if (step === null || stop === undefined) return null;
  const end = step === STOPS.length - 1;
  return (
    <div
      ref={box}
      class="tour"
      role="dialog"
      aria-label={`Tour, ${step + 1} of ${STOPS.length}`}
      tabIndex={-1}
      onKeyDown={({ key }) => {
        if (key === 'Escape') tour.value = null;
      }}
    >
      <p>{stop.words}</p>
      <div class="buttons">
        <button
          type="button"
          class="primary"
          onClick={() => {
            tour.value = end ? null : step + 1;
          }}
        >
          {end ? 'Done' : 'Next'}
        </button>
        {!end && (
          <button
            type="button"
            onClick={() => {
              tour.value = null;
            }}
          >
            End
          </button>
        )}
        <span class="soft">
          {step + 1} of {STOPS.length}
        </span>
      </div>
    </div>
  );
}
