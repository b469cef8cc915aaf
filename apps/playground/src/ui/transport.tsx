import { useEffect } from 'preact/hooks';
import { pause, resume, showRecording, single, train } from '../state/actions.ts';
import {
  at,
  device,
  forgetText,
  frame,
  looked,
  milliseconds,
  mode,
  playing,
  shown,
  text,
  training,
} from '../state/store.ts';

/** Milliseconds of a whole replay: the sink has grown within ten seconds of opening. */
const REPLAY = 8000;

/** Play and scrub, and what computes. */
export function Transport() {
  const frames = shown.value?.frames ?? [];
  const place = at.value < 0 ? frames.length - 1 : Math.min(at.value, frames.length - 1);
  const moving = playing.value && looked.value === null;
  useEffect(() => {
    if (!moving) return;
    const timer = setInterval(() => {
      const last = frames.length - 1;
      if (at.value >= last) playing.value = false;
      else at.value = at.value + 1;
    }, REPLAY / Math.max(1, frames.length));
    return () => clearInterval(timer);
  }, [moving, frames.length]);
  const back = () => {
    forgetText();
    text.value = '';
  };
  const play = () => {
    back();
    if (!playing.value && (at.value < 0 || at.value >= frames.length - 1)) at.value = 0;
    playing.value = !playing.value;
  };
  return (
    <div class="transport">
      <button
        type="button"
        class="round"
        onClick={play}
        aria-label={playing.value ? 'Pause the replay' : 'Play the replay'}
      >
        {playing.value ? '❚❚' : '▶'}
      </button>
      <label class="scrubber">
        <span class="sr">Step of the training</span>
        <input
          type="range"
          min={0}
          max={Math.max(0, frames.length - 1)}
          value={Math.max(0, place)}
          aria-valuetext={`step ${frame.value?.step ?? 0}`}
          onInput={(event) => {
            back();
            playing.value = false;
            at.value = Number(event.currentTarget.value);
          }}
        />
      </label>
      <output data-testid="step">step {(frame.value?.step ?? 0).toLocaleString('en')}</output>
      <Live />
    </div>
  );
}

function Live() {
  const state = training.value;
  const last = shown.value?.losses.steps.at(-1) ?? 0;
  return (
    <>
      <div class="live">
        {mode.value === 'live' && (state === 'running' || state === 'paused') && (
          <>
            <button type="button" onClick={() => void (state === 'running' ? pause() : resume())}>
              {state === 'running' ? 'Pause' : 'Go on'}
            </button>
            <button type="button" onClick={() => void single()}>
              One step
            </button>
          </>
        )}
        <button
          type="button"
          class="primary"
          disabled={state === 'starting'}
          onClick={() => void train()}
          data-testid="train"
        >
          {mode.value === 'live' ? 'Reset and train' : state === 'starting' ? 'Starting …' : 'Train it here'}
        </button>
        {mode.value === 'live' && (
          <button type="button" onClick={showRecording}>
            The recording
          </button>
        )}
      </div>
      {mode.value === 'live' && device.value !== null && (
        <p class="soft device" data-testid="device">
          {device.value.backend}: {device.value.name}, {milliseconds.value.toFixed(0)} ms a step of both,{' '}
          {last.toLocaleString('en')} of {(shown.value?.settings.steps ?? 0).toLocaleString('en')} steps{' '}
          {device.value.note && <span class="note">{device.value.note}</span>}
        </p>
      )}
    </>
  );
}
