import { useRef, useState } from 'preact/hooks';
import { open } from '../state/actions.ts';
import { opened } from '../state/store.ts';
import { dropped, picked } from './files.ts';

/** A model of the reader's own: dropped, or chosen. */
export function Own() {
  const [side, setSide] = useState<0 | 1>(0);
  const [over, setOver] = useState(false);
  const file = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const take = async (found: Awaited<ReturnType<typeof dropped>>) => {
    if (found !== null) await open(side, found.files, found.name);
  };
  const model = opened.value[side];
  return (
    <section class="panel" id="own" aria-labelledby="own-title">
      <h2 id="own-title">Your own model</h2>
      <p class="lead">
        A run folder of <code>lazy-attention train</code>, a small Hugging Face folder, or a GGUF file. It is read in
        this page and goes nowhere.
      </p>
      <section
        class={over ? 'drop over' : 'drop'}
        aria-label="Open a model"
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          if (event.dataTransfer !== null) void dropped(event.dataTransfer).then(take);
        }}
      >
        <p>Drop it here, or choose</p>
        <div class="buttons">
          <button type="button" onClick={() => folder.current?.click()}>
            a folder
          </button>
          <button type="button" onClick={() => file.current?.click()}>
            a file
          </button>
          <label>
            to the{' '}
            <select value={side} onChange={({ currentTarget }) => setSide(Number(currentTarget.value) as 0 | 1)}>
              <option value={0}>left</option>
              <option value={1}>right</option>
            </select>
          </label>
        </div>
        <input
          ref={folder}
          class="sr"
          type="file"
          tabIndex={-1}
          aria-label="A model's folder"
          data-testid="folder"
          {...{ webkitdirectory: true }}
          onChange={({ currentTarget }) => void take(picked(currentTarget.files))}
        />
        <input
          ref={file}
          class="sr"
          type="file"
          multiple
          tabIndex={-1}
          aria-label="A model's files"
          data-testid="file"
          onChange={({ currentTarget }) => void take(picked(currentTarget.files))}
        />
      </section>
      {model !== null && (
        <p role="status" data-testid="opened">
          {model.name}: {model.kind}, {model.layers} layers of {model.heads} heads,{' '}
          {(model.parameters / 1e6).toFixed(2)} M parameters
          {model.hasTokenizer ? '' : '; it came without a tokenizer, so its text is token ids'}.
        </p>
      )}
    </section>
  );
}
