import { readFileSync } from 'node:fs';
import { byteTokenizer } from '@lazy-attention/data';
import {
  BENCHMARKS,
  type Doc,
  EvaluationError,
  encodePair,
  parseRequest,
  type Task,
  textEncoder,
} from '@lazy-attention/evaluation';
import { readItems } from '@lazy-attention/evaluation/node';
import { fileTarget } from './file.ts';
import type { Target } from './target.ts';

const encoder = textEncoder(byteTokenizer(), { prefixId: 0 });
const LIMITS = { maxLength: 64, vocabSize: 256 };
const json = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value)}\n`);

const REQUESTS = [
  { context: 'It was the best', continuation: ' of times' },
  { context: [1, 2, 3], continuation: [4, 5] },
  { text: 'naïve café — 東京 🎉'.repeat(9) },
  { ids: [1, 2, 3] },
];

const CHOICES = { text: ['red', 'green'], label: ['A', 'B'] };
const ITEMS: readonly Doc[] = [
  { text: 'It was the best of times' },
  { page: ' = Title = \n It was the best , of times . \n' },
  {
    ind: 1,
    activity_label: 'Running',
    ctx_a: 'A man',
    ctx_b: 'runs',
    ctx: 'A man runs',
    endings: ['on', 'away', 'to', 'by'],
    label: '2',
  },
  { goal: 'To open', sol1: 'push', sol2: 'pull', label: 1 },
  { question: 'What colour?', choices: CHOICES, answerKey: 'B' },
  { question_stem: 'A colour is', choices: CHOICES, answerKey: 'A' },
  { sentence: 'The cat saw the dog and _ ran.', option1: 'cat', option2: 'dog', answer: '1' },
  { context: 'Kim ran.', question: 'Why?', answerA: 'late', answerB: 'fun', answerC: 'fear', label: '3' },
  { passage: 'It rains.', question: 'is it wet', label: 1 },
];

/** All that a task makes of an item before a model sees it. @throws EvaluationError */
function taken(task: Task, item: Doc): void {
  const doc = task.prepare?.(item) ?? item;
  if ('gold' in task) task.gold(doc);
  if (task.kind === 'choice')
    for (const choice of task.choices(doc)) encodePair(encoder, task.context(doc), ` ${choice}`);
  if (task.kind === 'context')
    for (const context of task.contexts(doc)) encodePair(encoder, context, ` ${task.continuation(doc)}`);
  if (task.kind === 'completion') encodePair(encoder, task.context(doc), task.continuation(doc));
  if (task.kind === 'rolling') encoder.encode(task.text(doc) + task.counted(doc));
}

/** Every task takes the item, or refuses it; one at least takes it. @throws EvaluationError */
function takenBySome(item: Doc): void {
  let refused: unknown = null;
  let takers = 0;
  for (const task of BENCHMARKS.values()) {
    try {
      taken(task, item);
      takers++;
    } catch (error) {
      if (!(error instanceof EvaluationError)) throw error;
      refused = error;
    }
  }
  if (takers === 0) throw refused;
}

/** Readers of requests and of benchmark items. */
export const EVALUATION_TARGETS: readonly Target[] = [
  fileTarget({
    name: 'requests',
    extension: '.jsonl',
    json: true,
    valid: async () => REQUESTS.map(json),
    read: async (path) => parseRequest(encoder, LIMITS, readFileSync(path, 'utf8'), 'line 1'),
  }),
  fileTarget({
    name: 'items',
    extension: '.jsonl',
    json: true,
    valid: async () => ITEMS.map(json),
    read: async (path) => (await readItems(path)).forEach(takenBySome),
  }),
];
