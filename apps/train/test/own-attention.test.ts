import { fileURLToPath } from 'node:url';
import { isAttentionKind } from '@lazy-attention/nn';
import { expect, it } from 'vitest';
import { withOwnAttention } from '../src/cli/own-attention.ts';

const example = (name: string) => fileURLToPath(new URL(`../../../examples/attention/${name}.mjs`, import.meta.url));

it('puts names in the place of files, also among kinds', async () => {
  const argv = ['node', 'x', 'compare', '--attention', `softmax,${example('gated')}`, '--seeds', '2'];
  expect(await withOwnAttention(argv)).toEqual([...argv.slice(0, 4), 'softmax,my-gated', ...argv.slice(5)]);
  expect(await withOwnAttention([`--attention=${example('sigmoid')}`])).toEqual(['--attention', 'my-sigmoid']);
});

it('defines a kind for commands that take none', async () => {
  expect(await withOwnAttention(['eval', 'run', '--define', example('softpick')])).toEqual(['eval', 'run']);
  expect(isAttentionKind('my-softpick')).toBe(true);
});

it('leaves everything else as it is', async () => {
  const argv = ['train', 'book.txt', '--attention', 'lazy', '--out', 'runs/a', '--attention'];
  expect(await withOwnAttention(argv)).toEqual(argv);
});
