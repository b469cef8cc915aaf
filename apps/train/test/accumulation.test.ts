import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { RHYTHM, run, start, TINY, temporary } from './helpers.ts';

const losses = (folder: string) =>
  readMetrics(join(folder, 'metrics.jsonl')).metrics.map((metric) => [metric.type, metric.step, metric.loss] as const);

it('computes a batch in pieces with the losses of the whole', async () => {
  const root = temporary();
  const [whole, pieces] = [join(root, 'whole'), join(root, 'pieces')];
  const options = [...TINY, '--batch', '6', '--sink-penalty', '0.5'];
  expect((await run('train', ...options, '--out', whole)).code).toBe(0);
  const cut = await run('train', ...options, '--micro-batch', '2', '--out', pieces);
  expect(cut.code, cut.stderr).toBe(0);
  for (const [i, [type, step, loss]] of losses(pieces).entries()) {
    expect([type, step]).toEqual(losses(whole)[i].slice(0, 2));
    expect(loss).toBeCloseTo(losses(whole)[i][2], 5);
  }
  expect(JSON.parse(readFileSync(join(pieces, 'run.json'), 'utf8')).training.microBatch).toBe(2);
  const other = await run('train', '--resume', '--micro-batch', '3', '--out', pieces);
  expect(other.code).toBe(2);
  expect(other.stderr).toContain('--micro-batch is 3, but the run was started with 2');
});

it('refuses a batch that the pieces do not divide, before anything is written', async () => {
  const out = join(temporary(), 'run');
  const { code, stderr } = await run('train', ...TINY, '--batch', '8', '--micro-batch', '3', '--out', out);
  expect([code, stderr]).toEqual([
    2,
    'error [USAGE] train: --micro-batch 3 does not divide --batch 8; choose 2, or another --batch\n',
  ]);
  expect(existsSync(out)).toBe(false);
});

// Nearly all of the time passes inside a step, of 32 pieces each.
it('goes on with equal losses after kill -9 inside a step', async () => {
  const root = temporary();
  const options = [...TINY, '--steps', '8', '--batch', '32', '--micro-batch', '1', '--eval-every', '0'];
  const rhythm = ['--checkpoint-every', '1'];
  const whole = join(root, 'whole');
  expect((await run('train', ...options, ...rhythm, '--out', whole)).code).toBe(0);

  const killed = join(root, 'killed');
  let last = { code: null as number | null, stderr: '' };
  for (let kills = 0; kills < 4; kills++) {
    const args = kills === 0 ? options : ['--resume', ...RHYTHM, '--eval-every', '0'];
    const { child, done } = start(['train', ...args, ...rhythm, '--out', killed]);
    const before = existsSync(join(killed, 'metrics.jsonl')) ? losses(killed).length : 0;
    while (child.exitCode === null && !(existsSync(join(killed, 'metrics.jsonl')) && losses(killed).length > before)) {
      await sleep(2);
    }
    await sleep(5 * kills);
    child.kill('SIGKILL');
    await done;
  }
  last = await run('train', '--resume', ...RHYTHM, '--eval-every', '0', '--out', killed);
  expect(last.code, last.stderr).toBe(0);
  expect(losses(killed)).toEqual(losses(whole));
}, 120_000);
