import { createRequire } from 'node:module';
import { provider } from '@lazy-attention/backend-tfjs';
import { runConformance } from '@lazy-attention/conformance/vitest';
import { Backend } from '@lazy-attention/core';
import { test } from 'vitest';

const create = (engine: string) => async () => new Backend(await provider.create({ engine }));

runConformance('tfjs wasm', create('wasm'));
runConformance('tfjs cpu', create('cpu'));

// scripts/install-tfjs-node.sh installs it where TensorFlow can be had.
if (isInstalled('@tensorflow/tfjs-node')) {
  runConformance('tfjs tfjs-node', create('tfjs-node'), {
    skip: {
      'attentionGrad f32 scores_to_1e4_do_not_overflow':
        "TensorFlow's softmax multiplies by a rounded reciprocal, so a key alone has p = 0.99999994 and a gradient of 3e-4 instead of 0",
    },
  });
} else {
  test('conformance of tfjs tfjs-node', (context) =>
    context.skip('@tensorflow/tfjs-node is not installed; scripts/install-tfjs-node.sh installs it'));
}

function isInstalled(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(name);
    return true;
  } catch {
    return false;
  }
}
