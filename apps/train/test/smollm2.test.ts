import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { run } from './helpers.ts';

const MODELS =
  process.env.LAZY_ATTENTION_MODELS ?? fileURLToPath(new URL('../../../../shared/models', import.meta.url));
const SMOLLM2 = join(MODELS, 'SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf');
/** Its dashes are two hyphens, as in the figures that transformers gave; other dashes are other tokens. */
const PARAGRAPH =
  "Call me Ishmael. Some years ago--never mind how long precisely--having little or no money in my purse, and nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a way I have of driving off the spleen and regulating the circulation. Whenever I find myself growing grim about the mouth; whenever it is a damp, drizzly November in my soul; whenever I find myself involuntarily pausing before coffin warehouses, and bringing up the rear of every funeral I meet; and especially whenever my hypos get such an upper hand of me, that it requires a strong moral principle to prevent me from deliberately stepping into the street, and methodically knocking people's hats off--then, I account it high time to get to sea as soon as I can.";

interface Inspected {
  readonly tokens: number;
  readonly loss: number;
  readonly attention: {
    readonly overall: { readonly firstTokenWeight: number; readonly sinkRate: Readonly<Record<string, number>> };
    readonly hidden: readonly { readonly largestActivation: number }[];
  };
}

const absent = existsSync(SMOLLM2)
  ? ''
  : ` (skipped: no ${SMOLLM2}; name the folder of models in LAZY_ATTENTION_MODELS)`;

it.skipIf(absent !== '')(
  `inspect gives the sinks of SmolLM2 that transformers gives in float64${absent}`,
  async () => {
    const { code, stdout, stderr } = await run('inspect', SMOLLM2, '--prompt', PARAGRAPH, '--json');
    expect(code, stderr).toBe(0);
    const { tokens, loss, attention } = JSON.parse(stdout) as Inspected;
    expect(tokens).toBe(170);
    expect(loss).toBeCloseTo(4.3393, 3);
    expect(attention.overall.firstTokenWeight).toBeCloseTo(0.384, 3);
    expect(Math.round(attention.overall.sinkRate['0.3'] * 100)).toBe(59);
    expect(Math.max(...attention.hidden.map((one) => one.largestActivation)) / 23_647).toBeCloseTo(1, 3);
  },
  600_000,
);
