import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { run, TINY, temporary } from './helpers.ts';

it('--plan says what a run would take and writes nothing', async () => {
  const out = join(temporary(), 'run');
  const options = ['--batch', '4', '--micro-batch', '2', '--plan', '--out', out];
  const { code, stdout, stderr } = await run('train', ...TINY, ...options, '--json');
  expect(code, stderr).toBe(0);
  expect(existsSync(out)).toBe(false);
  const plan = JSON.parse(stdout);
  const { memory, ...rest } = plan;
  expect(rest).toMatchObject({
    type: 'plan',
    preset: 'pico',
    shape: { layers: 2, heads: 2, width: 64, context: 16, vocabulary: 256 },
    steps: 6,
    tokensPerStep: 64,
    tokens: 384,
    tokensPerSecond: expect.any(Number),
  });
  const { peakBytes, ...kinds } = memory;
  expect(Object.values<number>(kinds).reduce((sum, bytes) => sum + bytes)).toBe(peakBytes);
  expect(kinds.optimizer).toBe(8 * rest.parameters);
  const people = await run('train', ...TINY, ...options);
  expect(people.stdout).toMatch(/^model +2 layers, 2 heads, width 64/);
  expect(people.stdout).toMatch(/time +about \d+:\d\d at [\d,]+ tokens\/s/);
});
