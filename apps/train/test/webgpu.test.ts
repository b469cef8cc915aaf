import { join } from 'node:path';
import { provider } from '@lazy-attention/backend-webgpu';
import { expect, it } from 'vitest';
import { complaints, expectLossesOfTheReference } from './follow.ts';
import { run, start, temporary } from './helpers.ts';

const { available, reason } = await provider.probe();

it('train --backend webgpu has the losses of the reference over 50 steps of pico, and generate its tokens', {
  timeout: 400_000,
}, async (context) => {
  if (!available) context.skip(`webgpu: ${reason}`);
  const root = temporary();
  await expectLossesOfTheReference('webgpu', root);

  // Beyond the context of 64, so that the cache slides; on the checkpoint that webgpu trained.
  const greedy = ['generate', join(root, 'webgpu'), '--prompt', 'Call me', '--tokens', '80', '--temperature', '0'];
  const generate = async (backend: string) => {
    const { code, stdout, stderr } = await run(...greedy, '--json', '--backend', backend);
    const told = expect.stringMatching(
      /^the text may become 87 tokens long; past .* attention sees the last 64 alone\n$/,
    );
    expect({ code, stderr: complaints(stderr) }).toEqual({ code: 0, stderr: told });
    return JSON.parse(stdout);
  };
  const expected = await generate('reference');
  expect(expected.prompt).toBe('Call me');
  expect(await generate('webgpu')).toEqual(expected);
});

it('an adapter that is not there is an error that names the ones that are', async (context) => {
  if (!available) context.skip(`webgpu: ${reason}`);
  const out = join(temporary(), 'run');
  const { code, stderr } = await start(
    ['train', '--preset', 'pico', '--steps', '1', '--backend', 'webgpu', '--out', out],
    { LAZY_ATTENTION_WEBGPU_ADAPTER: 'no such adapter' },
  ).done;
  expect(code).toBe(1);
  expect(stderr).toMatch(/BACKEND_UNAVAILABLE.*no adapter matches 'no such adapter'; found '.+'/s);
});
