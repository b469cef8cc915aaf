import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './snippets.mjs';

const lines = (count, make) => Array.from({ length: count }, (_, i) => `${JSON.stringify(make(i))}\n`).join('');
const book = 'It was the best of times, it was the worst of times. '.repeat(99);

/** Files that a README's commands take for granted, as small as they may be. */
const GIVEN = {
  'book.txt': () => book,
  'fineweb-edu/sample/10BT/000.txt': () => book,
  'gpt2/tokenizer.json': () => readFileSync(join(root, 'packages/data/test/fixtures/byte-level.json'), 'utf8'),
  'requests.jsonl': () => lines(2, (i) => ({ context: 'It was the', continuation: [' best', ' worst'][i] })),
  'items/piqa/train.jsonl': () => lines(3, piqa),
  'items/piqa/validation.jsonl': () => lines(4, piqa),
  'items/arc_easy/train.jsonl': () => lines(3, arc),
  'items/arc_easy/test.jsonl': () => lines(4, arc),
};

function piqa(i) {
  return { goal: `open box ${i}`, sol1: 'lift the lid', sol2: 'paint it', label: i % 2 };
}

function arc(i) {
  const choices = { text: ['ice', 'fire'], label: ['A', 'B'] };
  return { id: `item-${i}`, question: `What is cold, number ${i}?`, choices, answerKey: 'A' };
}

/** `npx` for the shell, with trainings of a few steps. */
const FEW_STEPS = `
npx() {
  case "$2" in
    train | compare) command npx "$@" --steps 3 --batch 2 --eval-windows 2 --final-eval-windows 2 --eval-every 0 ;;
    *) command npx "$@" ;;
  esac
}
`;

/**
 * The commands of a block that is marked `short`, for an empty folder that earlier blocks may have filled: with the files that they take
 * for granted, the run that was trained first as MODEL, and trainings of a few steps.
 */
export function shortened(code, folder) {
  for (const [path, content] of Object.entries(GIVEN)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content());
  }
  return FEW_STEPS + code.replaceAll(/\bMODEL\b/g, 'runs/nano-lazy');
}
