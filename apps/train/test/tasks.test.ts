import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run, temporary } from './helpers.ts';

const SMALL = ['--context', '16', '--batch', '2', '--window', '8', '--backend', 'reference'];
const EVALS = ['--eval-windows', '2', '--final-eval-windows', '4', '--sample-tokens', '3'];

describe('synthetic tasks', () => {
  it('train, record what they are made of, and resume to the same losses', async () => {
    const folder = temporary();
    const args = (steps: string, out: string) => [
      ...['train', 'bigram-backcopy', ...SMALL, ...EVALS, '--triggers', 'ae', '--markers', '1,3', '--warmup', '0'],
      ...['--steps', steps, '--out', out, '--floor', '1'],
    ];
    const whole = join(folder, 'whole');
    const { code, stderr } = await run(...args('4', whole));
    expect([code, stderr]).toEqual([0, '']);
    const record = JSON.parse(readFileSync(join(whole, 'run.json'), 'utf8'));
    expect(record.preset).toBe('one-head');
    expect(record.data.source).toBe('bigram-backcopy');
    expect(record.data.options).toEqual({ triggers: 'ae', markerPositions: [1, 3] });
    const refused = await run('train', '--resume', '--out', whole, '--markers', '1,4');
    expect(refused.stderr).toContain('--markers is 1,4, but the run was started with 1,3');
    const evaluated = await run('eval', whole, '--windows', '4', '--backend', 'reference', '--json');
    expect(JSON.parse(evaluated.stdout).loss).toBeGreaterThan(1);
  });

  it.each([
    [['bigram-backcopy', '--tokenizer', 'x.json'], '--tokenizer has no use for bigram-backcopy'],
    [['bigram-backcopy', '--field', 'text'], '--field has no use for bigram-backcopy'],
    [['moby-dick', '--triggers', 'a'], '--triggers has no use for moby-dick'],
    [['bigram-backcopy', '--triggers', 'A1'], "triggers is 'A1'"],
    [['moving-marker', '--markers', '0'], '--markers'],
    [['moving-marker', '--markers', '15'], 'markerPositions is 15'],
  ])('%j is refused before a folder is made', async (args, message) => {
    const out = join(temporary(), 'run');
    const { code, stderr } = await run('train', ...args, ...SMALL, '--steps', '1', '--out', out);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });
});
