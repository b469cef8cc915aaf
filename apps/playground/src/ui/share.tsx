import { useState } from 'preact/hooks';
import { commandOf, type Settings } from '../engine/settings.ts';
import { weights } from '../state/actions.ts';
import { toHash } from '../state/link.ts';
import { opened, settings, shown } from '../state/store.ts';
import { asCsv, asLosses, asPng, asSvg } from './export.ts';

/** The link to what is seen, and files of it. */
export function Share() {
  const [said, setSaid] = useState('');
  const share = async () => {
    const hash = toHash();
    history.replaceState(null, '', hash === '' ? location.pathname : hash);
    await navigator.clipboard?.writeText(location.href).then(
      () => setSaid('The link is in the clipboard.'),
      () => setSaid('The link is in the address bar.'),
    );
  };
  const of = shown.value?.settings ?? settings.value;
  return (
    <section class="panel" id="share" aria-labelledby="share-title">
      <h2 id="share-title">Take it with you</h2>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => void share()} data-testid="share">
          Link to this
        </button>
        <button type="button" onClick={() => void asPng().then((blob) => blob && save(blob, 'attention.png'))}>
          PNG
        </button>
        <button type="button" onClick={() => save(new Blob([asSvg()], { type: 'image/svg+xml' }), 'attention.svg')}>
          SVG
        </button>
        <button type="button" onClick={() => save(new Blob([asCsv()], { type: 'text/csv' }), 'attention.csv')}>
          CSV
        </button>
        <button type="button" onClick={() => save(new Blob([asLosses()], { type: 'text/csv' }), 'losses.csv')}>
          losses
        </button>
        {([0, 1] as const).map((side) => (
          <button
            key={side}
            type="button"
            onClick={() =>
              void weights(side).then(
                (bytes) => bytes && save(new Blob([bytes as Uint8Array<ArrayBuffer>]), `${of.kinds[side]}.safetensors`),
              )
            }
          >
            weights, {side === 0 ? 'left' : 'right'}
          </button>
        ))}
        <span class="soft" role="status">
          {said}
        </span>
      </div>
      <p class="soft">
        PNG, SVG and CSV are of the two maps, losses are of the training, weights are safetensors. The same on the
        command line:
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>{commands(of).join('\n')}</pre>
    </section>
  );
}

/** What repeats it: the trainings, or the inspection of the models that were opened. */
function commands(of: Settings): string[] {
  const models = opened.value.flatMap((model) => (model === null ? [] : [`npx lazy-attention inspect ${model.name}`]));
  return models.length > 0 ? models : ([0, 1] as const).map((side) => commandOf(of, side));
}

function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
