import { EvaluationError } from '../errors.ts';
import { index, labelIndex, labelledChoices, type Task, text, texts } from './task.ts';
import { detokenizeWikiText } from './wikitext.ts';

/*
 * The rules are those of lm-eval's task files: the prompt, the choices, the answer, and which metrics are given.
 */

const arc = (name: string): Task => ({
  name,
  kind: 'choice',
  splits: ['test', 'validation'],
  context: (doc) => `Question: ${text(doc, 'question')}\nAnswer:`,
  choices: (doc) => labelledChoices(doc).text,
  gold: (doc) => labelIndex(labelledChoices(doc).label, text(doc, 'answerKey')),
  normalised: true,
});

const TASKS: readonly Task[] = [
  {
    name: 'lambada_openai',
    folder: 'lambada',
    kind: 'completion',
    splits: ['test'],
    context: (doc) => text(doc, 'text').split(' ').slice(0, -1).join(' '),
    continuation: (doc) => ` ${text(doc, 'text').split(' ').at(-1)}`,
  },
  {
    name: 'wikitext',
    kind: 'rolling',
    splits: ['test', 'validation'],
    text: (doc) => detokenizeWikiText(text(doc, 'page')),
    counted: (doc) => text(doc, 'page'),
  },
  {
    name: 'hellaswag',
    kind: 'choice',
    splits: ['validation'],
    context: (doc) =>
      cleanHellaSwag(`${text(doc, 'activity_label')}: ${text(doc, 'ctx_a')} ${capitalized(text(doc, 'ctx_b'))}`),
    choices: (doc) => texts(doc, 'endings').map(cleanHellaSwag),
    gold: (doc) => index(doc, 'label', 0, texts(doc, 'endings').length),
    normalised: true,
  },
  {
    name: 'piqa',
    kind: 'choice',
    splits: ['validation'],
    context: (doc) => `Question: ${text(doc, 'goal')}\nAnswer:`,
    choices: (doc) => [text(doc, 'sol1'), text(doc, 'sol2')],
    gold: (doc) => index(doc, 'label', 0, 2),
    normalised: true,
  },
  arc('arc_easy'),
  arc('arc_challenge'),
  {
    name: 'winogrande',
    kind: 'context',
    splits: ['validation'],
    contexts: (doc) => {
      const [before] = aroundBlank(text(doc, 'sentence'));
      return [before + text(doc, 'option1'), before + text(doc, 'option2')];
    },
    continuation: (doc) => aroundBlank(text(doc, 'sentence'))[1].trim(),
    gold: (doc) => index(doc, 'answer', 1, 3) - 1,
  },
  {
    name: 'social_iqa',
    kind: 'choice',
    splits: ['validation'],
    context: (doc) => `Q: ${text(doc, 'context')} ${text(doc, 'question')}\nA:`,
    choices: (doc) => [text(doc, 'answerA'), text(doc, 'answerB'), text(doc, 'answerC')],
    gold: (doc) => index(doc, 'label', 1, 4) - 1,
    normalised: false,
  },
  {
    name: 'boolq',
    kind: 'choice',
    splits: ['validation'],
    context: (doc) => `${text(doc, 'passage')}\nQuestion: ${text(doc, 'question')}?\nAnswer:`,
    choices: () => ['no', 'yes'],
    gold: (doc) => index(doc, 'label', 0, 2),
    normalised: false,
  },
  {
    name: 'openbookqa',
    kind: 'choice',
    splits: ['test', 'validation'],
    context: (doc) => text(doc, 'question_stem'),
    choices: (doc) => labelledChoices(doc).text,
    gold: (doc) => labelIndex(labelledChoices(doc).label, text(doc, 'answerKey').trimStart()),
    normalised: true,
  },
];

/** Every benchmark, by the name that lm-eval gives it. */
export const BENCHMARKS: ReadonlyMap<string, Task> = new Map(TASKS.map((task) => [task.name, task]));

function aroundBlank(sentence: string): readonly [string, string] {
  const at = sentence.indexOf('_');
  if (at >= 0) return [sentence.slice(0, at), sentence.slice(at + 1)];
  throw new EvaluationError(
    'ITEM',
    `benchmark: '${sentence.slice(0, 80)}' has no blank; expected a '_' in field 'sentence'`,
  );
}

/** As Python's `str.capitalize`: the first character upper, the rest lower. */
function capitalized(value: string): string {
  const [first = ''] = value;
  return first.toUpperCase() + value.slice(first.length).toLowerCase();
}

/** Brackets are left over from the WikiHow part of the data. */
function cleanHellaSwag(value: string): string {
  return value
    .trim()
    .replaceAll(' [title]', '. ')
    .replaceAll(/\[.*?\]/g, '')
    .replaceAll('  ', ' ');
}
