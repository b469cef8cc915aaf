import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { createProgram } from '../src/cli/program.ts';
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

it('has a key for each flag of train', () => {
  const program = createProgram('0', () => {});
  const flags = program.commands.find((command) => command.name() === 'train')?.options ?? [];
  const { properties } = configSchema() as { properties: object };
  const names = flags.map((option) => option.attributeName()).filter((name) => name !== 'config');
  expect(names.length).toBeGreaterThan(60);
  expect(Object.keys(properties).sort()).toEqual([...names, '$schema', 'data'].sort());
});

it.each([
  ['wieghtDecay: 0.1', "unknown key 'wieghtDecay'; did you mean 'weightDecay'?"],
  ['{ "micro-batch": 2 }', "unknown key 'micro-batch'; did you mean 'microBatch'?"],
  ['lr: fast', 'lr is "fast"; expected a positive number'],
  ['data: 3', 'data is 3; expected at least one character'],
  ['plan: yes please', 'plan is "yes please"; expected true or false'],
  ['[1, 2]', 'holds [1,2]; expected an object'],
  ['a: [', 'cannot be read'],
])('refuses %s', async (text, message) => {
  const path = join(temporary(), 'recipe.yaml');
  writeFileSync(path, text);
  await expect(readConfig(path)).rejects.toThrow(message);
});

it('plans by a recipe, for programs', async () => {
  const root = temporary();
  const config = join(root, 'recipe.yaml');
  writeFileSync(config, `plan: true\njson: true\nstore: false\nout: ${join(root, 'run')}\n`);
  const { code, stdout, stderr } = await run('train', ...TINY, '--config', config);
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ type: 'plan', steps: 6 });
  expect(existsSync(join(root, 'run'))).toBe(false);
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

it('puts the tokens of a recipe around documents, in data and in stores, and holds them on resume', async () => {
  const root = temporary();
  const [config, out, store] = [join(root, 'recipe.yaml'), join(root, 'run'), join(root, 'store')];
  const text = join(root, 'lines.jsonl');
  writeFileSync(text, Array.from({ length: 200 }, (_, i) => `${JSON.stringify({ text: `line ${i}` })}\n`).join(''));
  writeFileSync(config, 'eos: none\n');
  const trained = await run('train', text, ...TINY, '--config', config, '--out', out);
  expect(trained.code, trained.stderr).toBe(0);
  const { data } = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8'));
  expect(data).toMatchObject({ tokenizer: { kind: 'bytes', documentSeparator: 'before' }, eos: 'none' });
  const other = await run('train', '--resume', '--out', out, '--eos', 'own');
  expect(other.stderr).toContain('--eos is own, but the run was started with none');
  expect((await run('tokenize', text, '--bos', 'none', '--out', store)).code).toBe(0);
  const differs = await run('train', store, ...TINY, '--config', config, '--out', join(root, 'other'));
  expect(differs.stderr).toContain('with these tokens around documents');
  const same = await run('train', store, ...TINY, '--bos', 'none', '--out', join(root, 'same'));
  expect(same.code, same.stderr).toBe(0);
  const byName = await run('train', text, ...TINY, '--bos', '<s>', '--out', join(root, 'none'));
  expect(byName.stderr).toContain("bytes: have no bos token '<s>'");
  const task = await run(
    'train',
    'bigram-backcopy',
    '--backend',
    'reference',
    '--bos',
    'none',
    '--out',
    join(root, 't'),
  );
  expect(task.stderr).toContain('--bos has no use for bigram-backcopy');
}, 120_000);

it('compares by a recipe', async () => {
  const root = temporary();
  const [config, out] = [join(root, 'recipe.json'), join(root, 'compared')];
  writeFileSync(config, JSON.stringify({ attention: 'lazy', width: 32, heads: 2, kvHeads: 1, lr: 1e-3, out }));
  const size = ['--preset', 'pico', '--context', '16', '--batch', '2', '--steps', '2', '--warmup', '1'];
  const kinds = ['--attention', 'softmax,lazy'];
  const { code, stdout, stderr } = await run('compare', ...size, ...RHYTHM, ...kinds, '--config', config);
  expect(code, stderr).toBe(0);
  expect(stdout).toContain(`attention of ${config} (lazy) is left out`);
  const { record, attentions } = JSON.parse(readFileSync(join(out, 'compare.json'), 'utf8'));
  expect(attentions).toEqual(['softmax', 'lazy']);
  expect(record).toMatchObject({ model: { hiddenSize: 32, numHeads: 2 }, training: { learningRate: 1e-3 } });
  for (const key of ['stopAfter: 3', 'store: false']) {
    writeFileSync(config, key);
    const refused = await run('compare', ...size, ...RHYTHM, '--config', config, '--out', join(root, 'other'));
    expect(refused.stderr).toContain(`${key.split(':')[0]} is of a single run`);
  }
}, 120_000);

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
  expect(training.documents).toBe('isolated');
  expect(existsSync(join(out, 'summary.json'))).toBe(true);
});
