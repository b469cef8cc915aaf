import { DEFAULTS, PAGE_PRESETS, type Settings } from '../engine/settings.ts';
import { kinds } from '../state/kinds.ts';
import { LIMITS } from '../state/link.ts';
import { settings } from '../state/store.ts';

const TASKS: readonly (readonly [Settings['task'], string])[] = [
  ['bigram-backcopy', 'Bigram-Backcopy'],
  ['book', 'Moby Dick'],
  ['text', 'my own text'],
];

/** What `Train it here` trains. */
export function Controls() {
  const now = settings.value;
  const set = (change: Partial<Settings>) => {
    settings.value = { ...settings.value, ...change };
  };
  const number = (name: 'context' | 'batch' | 'seed' | 'steps', label: string, least: number) => (
    <label>
      <span>{label}</span>
      <input
        type="number"
        min={least}
        max={LIMITS[name]}
        value={now[name]}
        onChange={(event) =>
          set({
            [name]: Math.max(least, Math.min(LIMITS[name], Math.round(Number(event.currentTarget.value)) || least)),
          })
        }
      />
    </label>
  );
  return (
    <details class="controls" id="controls">
      <summary>What is trained</summary>
      <form onSubmit={(event) => event.preventDefault()}>
        <KindChoice side={0} />
        <KindChoice side={1} />
        <label>
          <span>learns</span>
          <select
            value={now.task}
            onChange={({ currentTarget }) => set({ task: currentTarget.value as Settings['task'] })}
          >
            {TASKS.map(([task, label]) => (
              <option key={task} value={task}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>size</span>
          <select
            value={now.preset}
            onChange={({ currentTarget }) => set({ preset: currentTarget.value as Settings['preset'] })}
          >
            {PAGE_PRESETS.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        {number('context', 'context', 16)}
        {number('batch', 'batch', 1)}
        {number('steps', 'steps', 1)}
        {number('seed', 'seed', 0)}
        <label>
          <span>learning rate</span>
          <input
            type="number"
            min="0.00001"
            max="0.1"
            step="any"
            value={now.learningRate}
            onChange={({ currentTarget: { valueAsNumber: rate } }) =>
              set({ learningRate: rate > 0 && rate < 1 ? rate : DEFAULTS.learningRate })
            }
          />
        </label>
        {now.task === 'text' && (
          <label class="wide">
            <span>text to learn from, some thousand characters</span>
            <textarea rows={4} value={now.text} onInput={({ currentTarget }) => set({ text: currentTarget.value })} />
          </label>
        )}
      </form>
    </details>
  );
}

/** The kind of one side. */
function KindChoice({ side }: { readonly side: 0 | 1 }) {
  const now = settings.value;
  return (
    <label>
      <span>attention, {side === 0 ? 'left' : 'right'}</span>
      <select
        value={now.kinds[side]}
        data-testid={`kind-${side}`}
        onChange={({ currentTarget: { value } }) => {
          settings.value = { ...now, kinds: side === 0 ? [value, now.kinds[1]] : [now.kinds[0], value] };
        }}
      >
        {kinds.map(({ name, label }) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}
