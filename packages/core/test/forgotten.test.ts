import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, vi } from 'vitest';
import { stub } from './stub.ts';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Made in a function of its own, so that nothing on the stack holds them. */
function forget({ backend }: ReturnType<typeof stub>): void {
  for (let i = 0; i < 3; i++) backend.full([128, 256], i);
  backend.zeros([4]);
  backend.zeros([128, 256]).dispose();
}

it('large tensors that nobody disposed are freed, with one warning that names the op', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const made = stub();
  const kept = made.backend.zeros([128, 256]);
  forget(made);
  expect(made.backend.memory().tensors).toBe(5);
  for (let i = 0; i < 50 && made.backend.memory().tensors > 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    collectGarbage();
  }
  expect(made.backend.memory()).toMatchObject({ tensors: 2, bytes: 4 * 128 * 256 + 16 });
  expect(made.live.size).toBe(2);
  expect(warn.mock.calls.map(([message]) => message)).toEqual([
    expect.stringContaining('131072 bytes made by full was dropped without dispose()'),
  ]);
  kept.dispose();
  warn.mockRestore();
});
