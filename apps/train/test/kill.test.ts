import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { readMetrics } from '../src/index.ts';
import { RHYTHM, run, start, TINY, temporary } from './helpers.ts';

const STEPS = '480';
const KILLS = 20;

/** kill -9 at 20 moments, with a checkpoint after every step: the run always resumes and no loss differs. */
it('survives kill -9 at 20 random moments', async () => {
  const root = temporary();
  const options = [...TINY, '--steps', STEPS, '--checkpoint-every', '1', '--eval-every', '0'];
  const losses = (folder: string) =>
    readMetrics(join(folder, 'metrics.jsonl')).metrics.map((metric) => [metric.type, metric.step, metric.loss]);

  const whole = join(root, 'whole');
  expect((await run('train', ...options, '--out', whole)).code).toBe(0);

  const killed = join(root, 'killed');
  let begun = false;
  let kills = 0;
  // Not seeded: every run of this test looks at other moments.
  while (kills < KILLS) {
    const resume = ['--resume', ...RHYTHM, '--checkpoint-every', '1', '--eval-every', '0'];
    const { child, done } = start(['train', ...(begun ? resume : options), '--out', killed, '--json']);
    // From the moment that there is a run, its first checkpoint and the loading of the last one included.
    while (!existsSync(join(killed, 'run.json')) && child.exitCode === null) await sleep(1);
    begun = true;
    await sleep(Math.random() * (kills % 2 === 0 ? 600 : 1500));
    child.kill('SIGKILL');
    const { signal, code, stderr } = await done;
    if (signal === null) {
      expect(code, stderr).toBe(0);
      break;
    }
    kills++;
  }
  const last = await run('train', '--resume', ...RHYTHM, '--eval-every', '0', '--out', killed);
  expect(last.code, last.stderr).toBe(0);
  expect(losses(killed)).toEqual(losses(whole));
  expect(kills).toBe(KILLS);
}, 240_000);
