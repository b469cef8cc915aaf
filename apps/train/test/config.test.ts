import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { configSchema, readConfig } from '../src/options/config-file.ts';
import { RHYTHM, run, TINY, temporary } from './helpers.ts';

const recipe = (name: string) => fileURLToPath(new URL(`../../../docs/recipes/${name}.yaml`, import.meta.url));

it('the published schema is that of the options (UPDATE_SCHEMA=1 writes it)', () => {
  const path = fileURLToPath(new URL('../config.schema.json', import.meta.url));
  if (process.env.UPDATE_SCHEMA) writeFileSync(path, `${JSON.stringify(configSchema(), null, 2)}\n`);
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(configSchema());
});

it.each(['paper-340m', 'one-gpu-day'])('the recipe %s can be read', async (name) => {
  expect(await readConfig(recipe(name))).toMatchObject({ preset: '340m', attention: 'lazy' });
});

it.each([
  ['wieghtDecay: 0.1', "unknown key 'wieghtDecay'; did you mean 'weightDecay'?"],
  ['{ "micro-batch": 2 }', "unknown key 'micro-batch'; did you mean 'microBatch'?"],
  ['lr: fast', 'lr is "fast"; expected a positive number'],
  ['data: 3', 'data is 3; expected a text'],
  ['[1, 2]', 'holds [1,2]; expected an object'],
  ['a: [', 'cannot be read'],
])('refuses %s', async (text, message) => {
  const path = join(temporary(), 'recipe.yaml');
  writeFileSync(path, text);
  await expect(readConfig(path)).rejects.toThrow(message);
});

it('trains by a recipe, which flags go before, and holds it on resume', async () => {
  const root = temporary();
  const [config, out] = [join(root, 'recipe.json'), join(root, 'run')];
  const values = { layers: 1, heads: 4, kvHeads: 2, width: 32, mlpWidth: 48, tie: true, ropeBase: 500, tau: -0.5 };
  const rates = { biasInit: 0.01, biasTauFreeze: 3, beta1: 0.8, beta2: 0.9, epsilon: 1e-6 };
  writeFileSync(config, JSON.stringify({ ...values, ...rates, lr: 1e-3, documents: 'joined', out }));
  const { code, stderr } = await run('train', ...TINY, '--config', config, '--lr', '2e-3');
  expect(code, stderr).toBe(0);
  const { model, training, start } = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8'));
  expect(model).toMatchObject({ numLayers: 1, numHeads: 4, numKvHeads: 2, hiddenSize: 32, intermediateSize: 48 });
  expect(model).toMatchObject({ tieEmbeddings: true, ropeBase: 500 });
  expect(training).toMatchObject({ ...rates, learningRate: 2e-3, documents: 'joined' });
  expect(start).toEqual({ tau: -0.5 });
  const other = await run('train', '--resume', '--out', out, '--beta1', '0.9');
  expect(other.stderr).toContain('--beta1 is 0.9, but the run was started with 0.8');
});

it("takes two steps of the paper's recipe at a tenth of its width", async () => {
  const out = join(temporary(), 'run');
  const size = ['--width', '104', '--heads', '2', '--kv-heads', '2', '--context', '64', '--dtype', 'f32'];
  const steps = ['--batch', '4', '--recompute', '--loss-rows', '100', '--steps', '2', '--warmup', '1'];
  const rhythm = [...RHYTHM, '--backend', 'cpu', '--validation', '0.01', '--eval-every', '0'];
  const args = ['--config', recipe('paper-340m'), ...size, ...steps, ...rhythm, '--out', out];
  const { code, stderr } = await run('train', ...args);
  expect(code, stderr).toBe(0);
  const train = readMetrics(join(out, 'metrics.jsonl')).metrics.filter(({ type }) => type === 'train');
  expect(train.map(({ step }) => step)).toEqual([1, 2]);
  const { training } = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8'));
  expect(training).toMatchObject({ batch: 4, microBatch: 2, recompute: true, lossRows: 100, weightDecay: 0.01 });
  expect(existsSync(join(out, 'summary.json'))).toBe(true);
});
