import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Backend, createBackend } from '@lazy-attention/core';
import { byteTokenizer } from '@lazy-attention/data';
import { disposeParams, lazyTransformer, type Params } from '@lazy-attention/nn';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fewShotTexts } from '../dist/few-shot.js';
import {
  BENCHMARKS,
  type Doc,
  EvaluationError,
  evaluateItems,
  type Sample,
  summarize,
  type Task,
  textEncoder,
} from '../dist/index.js';
import { findItems, readItems } from '../dist/node.js';
import { PythonRandom } from '../dist/python-random.js';
import { countWords, detokenizeWikiText } from '../dist/tasks/wikitext.js';

const ITEMS: Record<string, Doc[]> = {
  lambada_openai: [{ text: 'He said he would come back to the house' }, { text: 'all the way' }],
  wikitext: [{ page: ' = Name = \n \n The 1 @,@ 000 men ( of old ) \'s " house " . \n' }],
  hellaswag: [
    {
      activity_label: 'Run',
      ctx_a: 'A man.',
      ctx_b: 'he THEN',
      endings: ['runs.', 'sits [x] down.', 'flies', 'is'],
      label: '1',
    },
  ],
  piqa: [{ goal: 'Open', sol1: 'push', sol2: 'pull hard', label: 1 }],
  arc_easy: [{ question: 'Which?', choices: { text: ['a', 'bb', 'ccc'], label: ['1', '2', '3'] }, answerKey: '2' }],
  arc_challenge: [
    { question: 'Which?', choices: { text: ['a', 'bb', 'ccc'], label: ['A', 'B', 'C'] }, answerKey: 'C' },
  ],
  winogrande: [{ sentence: 'The dog bit the man so _ ran away.', option1: 'dog', option2: 'man', answer: '2' }],
  social_iqa: [
    { context: 'Al ran.', question: 'Why?', answerA: 'late', answerB: 'fun', answerC: 'fear', label: '3\n' },
  ],
  boolq: [{ passage: 'Fuel -- It burns.', question: 'does it burn', label: 1 }],
  openbookqa: [{ question_stem: 'The sun is', choices: { text: ['hot', 'cold'], label: ['A', 'B'] }, answerKey: 'A' }],
};
const task = (name: string) => BENCHMARKS.get(name) as Task;
const model = lazyTransformer({ vocabSize: 257, hiddenSize: 16, numLayers: 1, numHeads: 2, context: 64, window: 8 });
const encoder = textEncoder(byteTokenizer({ documentSeparator: true }), { addBos: false });

async function collect(samples: AsyncIterable<Sample>): Promise<Sample[]> {
  const all: Sample[] = [];
  for await (const sample of samples) all.push(sample);
  return all;
}

describe('prompts', () => {
  it('are those of lm-eval', () => {
    const of = (name: string) => {
      const t = task(name);
      const doc = (ITEMS[name] as Doc[])[0] as Doc;
      if (t.kind === 'choice') return [t.context(doc), t.choices(doc), t.gold(doc)];
      if (t.kind === 'context') return [t.contexts(doc), t.continuation(doc), t.gold(doc)];
      if (t.kind === 'completion') return [t.context(doc), t.continuation(doc)];
      return [t.text(doc)];
    };
    expect(of('lambada_openai')).toEqual(['He said he would come back to the', ' house']);
    expect(of('hellaswag')).toEqual(['Run: A man. He then', ['runs.', 'sits down.', 'flies', 'is'], 1]);
    expect(of('piqa')).toEqual(['Question: Open\nAnswer:', ['push', 'pull hard'], 1]);
    expect(of('arc_easy')).toEqual(['Question: Which?\nAnswer:', ['a', 'bb', 'ccc'], 1]);
    expect(of('winogrande')).toEqual([['The dog bit the man so dog', 'The dog bit the man so man'], 'ran away.', 1]);
    expect(of('social_iqa')).toEqual(['Q: Al ran. Why?\nA:', ['late', 'fun', 'fear'], 2]);
    expect(of('boolq')).toEqual(['Fuel -- It burns.\nQuestion: does it burn?\nAnswer:', ['no', 'yes'], 1]);
    expect(of('openbookqa')).toEqual(['The sun is', ['hot', 'cold'], 0]);
    expect(of('wikitext')).toEqual([' = Name =\n\nThe 1,000 men (of old)\'s "house".\n']);
  });

  it('counts words of the original page, empty ones at its ends included', () => {
    expect(countWords(' = Name = \n \n The men \n')).toBe(7);
    expect(detokenizeWikiText('a @-@ b , c')).toBe('a-b, c');
  });
});

describe('items', () => {
  it.each([
    ['piqa', { goal: 'x', sol1: 'a', label: 0 }, "'sol2' is missing"],
    [
      'piqa',
      { goal: 'x', sol1: 'a', sol2: 'b', label: 2 },
      "piqa, item 0: benchmark: field 'label' is 2; expected 0 to 1",
    ],
    ['arc_easy', { question: 'q', choices: { text: ['a'], label: ['A'] }, answerKey: 'B' }, "answer 'B' is none of A"],
    ['winogrande', { sentence: 'no blank', option1: 'a', option2: 'b', answer: '1' }, 'has no blank'],
  ])('of %s that lack something are refused with their number', async (name, doc, message) => {
    const backend = await createBackend('reference');
    const params = model.init(backend, 1);
    const run = collect(evaluateItems({ backend, model, params }, encoder, task(name), [doc as Doc]));
    await expect(run).rejects.toThrow(EvaluationError);
    await expect(run).rejects.toThrow(message);
    disposeParams(params);
    await backend.dispose();
  });
});

describe('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'items-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are found by task and split', async () => {
    mkdirSync(join(folder, 'lambada'));
    writeFileSync(join(folder, 'lambada', 'test.jsonl'), '{"text":"a b"}\n\n{"text":"c d"}\n');
    const { docs, split } = await findItems(folder, task('lambada_openai'));
    expect([docs, split]).toEqual([[{ text: 'a b' }, { text: 'c d' }], 'test']);
  });

  it('that are not there are named', async () => {
    await expect(findItems(folder, task('piqa'))).rejects.toThrow(/piqa.*validation\.jsonl.*--data/s);
  });

  it('with a line that is no object are refused with its number', async () => {
    const path = join(folder, 'bad.jsonl');
    writeFileSync(path, '{"a":1}\n[1]\n');
    await expect(readItems(path)).rejects.toThrow(/line 2 .*no JSON object/);
    writeFileSync(path, '{"a":1}\n{"a\n');
    await expect(readItems(path)).rejects.toThrow(/line 2 .*not JSON/);
  });
});

describe('files that are not to be trusted', () => {
  const folder = mkdtempSync(join(tmpdir(), 'untrusted-items-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are refused where they are no UTF-8, or no parquet', async () => {
    const path = join(folder, 'a.jsonl');
    writeFileSync(path, Buffer.from('{"text":"caf\xe9"}', 'latin1'));
    await expect(readItems(path)).rejects.toMatchObject({ code: 'TASK', message: expect.stringContaining(path) });
    const other = join(folder, 'a.parquet');
    writeFileSync(other, 'PAR1 and nothing more PAR1');
    // Read by the process of the data package, which can be ended whatever the file makes hyparquet do.
    await expect(readItems(other)).rejects.toMatchObject({ code: 'TASK', cause: { code: 'DATA_FORMAT' } });
  });
});

describe('few-shot examples', () => {
  it('are drawn as Python draws', () => {
    // random.Random(1234): sample(range(500), 6), sample(range(10), 3), sample(range(62), 2)
    const random = new PythonRandom(1234);
    const numbers = (n: number) => Array.from({ length: n }, (_, i) => i);
    expect(random.sample(numbers(500), 6)).toEqual([494, 398, 225, 59, 3, 46]);
    expect(random.sample(numbers(10), 3)).toEqual([9, 0, 1]);
    expect(random.sample(numbers(62), 2)).toEqual([6, 49]);
  });

  it('are solved items, and never the item itself', () => {
    const docs = ['a', 'b', 'c'].map((goal) => ({ goal, sol1: `${goal}1`, sol2: `${goal}2`, label: 1 }));
    const texts = fewShotTexts(task('piqa'), { count: 2, docs, sameSplit: true });
    for (const doc of docs) {
      const text = texts(doc);
      expect(text).not.toContain(`Question: ${doc.goal}\n`);
      expect(text).toMatch(/^(Question: (.)\nAnswer: \2[2]\n\n){2}$/);
    }
  });

  it('need enough items, and a task that takes them', () => {
    const docs = [{ goal: 'a', sol1: 'x', sol2: 'y', label: 1 }];
    expect(() => fewShotTexts(task('piqa'), { count: 1, docs, sameSplit: true })).toThrow(EvaluationError);
    expect(() => fewShotTexts(task('wikitext'), { count: 1, docs, sameSplit: false })).toThrow('no few-shot');
  });
});

describe('results', () => {
  let backend: Backend;
  let params: Params;
  beforeAll(async () => {
    backend = await createBackend('reference');
    params = model.init(backend, 1);
  });
  afterAll(async () => {
    disposeParams(params);
    await backend.dispose();
  });

  it.each([...BENCHMARKS.keys()])('of %s have every metric, and go on where an earlier run stopped', async (name) => {
    const docs = [...(ITEMS[name] as Doc[]), ...(ITEMS[name] as Doc[])];
    const subject = { backend, model, params };
    const samples = await collect(evaluateItems(subject, encoder, task(name), docs, { chunk: 1 }));
    expect(samples.map(({ doc_id }) => doc_id)).toEqual(docs.map((_, i) => i));
    const rest = await collect(evaluateItems(subject, encoder, task(name), docs, { from: 1 }));
    for (const [i, sample] of rest.entries()) {
      expect(sample.log_likelihoods[0]).toBeCloseTo(samples[i + 1]!.log_likelihoods[0]!, 9);
      expect(sample.doc_id).toBe(i + 1);
    }
    const result = summarize(task(name), samples);
    expect(Object.values(result).every((value) => value === 'N/A' || value === name || Number.isFinite(value))).toBe(
      true,
    );
    expect(Object.keys(result)).toEqual(expect.arrayContaining(['alias']));
  });

  it('are means with the standard error of the sample', () => {
    const sample = (acc: number): Sample => ({
      doc_id: 0,
      log_likelihoods: [-1, -2],
      is_greedy: [false, false],
      prediction: 0,
      target: 0,
      metrics: { acc },
    });
    const result = summarize(task('boolq'), [1, 1, 0, 1].map(sample));
    expect(result['acc,none']).toBe(0.75);
    expect(result['acc_stderr,none']).toBeCloseTo(0.25, 12);
  });
});
