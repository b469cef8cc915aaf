const probeOf = (name) => `
import { createBackend, probeBackends } from '@lazy-attention/core';
const report = (await probeBackends()).find((entry) => entry.name === '${name}');
console.log(report.available ? 'available' : 'not available', report.device || report.reason);
if (report.available) {
  const backend = await createBackend('${name}');
  const [x] = await backend.sum(backend.full([1000], 0.5)).data();
  if (x !== 500) throw new Error('the sum is ' + x);
  await backend.dispose();
}
`;

/** The installed page is served; it and its program arrive whole. */
const PLAYGROUND = `
import { spawn } from 'node:child_process';
const page = spawn(process.execPath, ['node_modules/lazy-attention/bin/lazy-attention.js', 'playground', '--port', '0']);
try {
  const address = await new Promise((resolve, reject) => {
    let said = '';
    page.stdout.on('data', (data) => {
      const found = /http:\\S+/.exec((said += data));
      if (found !== null) resolve(found[0]);
    });
    page.stderr.on('data', (data) => reject(new Error(String(data))));
    page.on('exit', () => reject(new Error('the server ended: ' + said)));
  });
  const html = await (await fetch(address)).text();
  const program = await fetch(new URL(/src="([^"]+\\.js)"/.exec(html)[1], address));
  if (!program.ok || (await program.text()).length < 1000) throw new Error('the program of the page is not there');
} finally {
  page.kill();
}
console.log('the playground is served');
`;

const importing = (name, what) => `import * as all from '${name}'; console.log(typeof all.${what});\n`;
const REFERENCE = ['@lazy-attention/backend-reference'];

/**
 * What a reader of the READMEs installs and runs. `install`: as it stands in the README, which is checked; `more`: what that README
 * leaves to choose. `blocks` and `rootBlocks`: marked blocks of that README and of the repository's, by name; `sources`: more modules.
 * `expects`: a pattern that the output matches. `measured`: with an empty cache, for the table. `most`: what it may take.
 */
export const CASES = [
  {
    name: 'core + cpu',
    readme: 'packages/backend-cpu/README.md',
    install: '@lazy-attention/core @lazy-attention/backend-cpu',
    measured: true,
    rootBlocks: ['op'],
    blocks: ['use'],
    sources: [probeOf('cpu')],
    expects: /^available/m,
  },
  {
    name: 'core + webgpu',
    readme: 'packages/backend-webgpu/README.md',
    install: '@lazy-attention/core @lazy-attention/backend-webgpu',
    more: ['webgpu'],
    measured: true,
    blocks: ['use'],
    sources: [probeOf('webgpu')],
    // Without a Vulkan driver it must still say what it lacks.
    expects: /^(available|not available \S)/m,
  },
  {
    name: 'core + tfjs',
    readme: 'packages/backend-tfjs/README.md',
    install:
      '@lazy-attention/core @lazy-attention/backend-tfjs @tensorflow/tfjs-core@4 @tensorflow/tfjs-backend-wasm@4',
    measured: true,
    blocks: ['use', 'share', 'op'],
    sources: [probeOf('tfjs')],
    expects: /^available/m,
  },
  {
    name: 'lazy-attention',
    readme: 'apps/train/README.md',
    install: 'lazy-attention',
    measured: true,
    most: { packages: 60, bytes: 40e6 },
    sources: [PLAYGROUND],
    rootBlocks: ['train'],
    expects: /validation loss[\s\S]*the playground is served/,
  },
  {
    name: 'core + nn + reference',
    readme: 'packages/nn/README.md',
    install: '@lazy-attention/core @lazy-attention/nn',
    more: REFERENCE,
    measured: true,
    blocks: ['layer', 'train', 'checkpoint', 'own'],
    expects: /^2 16 64$/m,
  },
  {
    name: 'core',
    readme: 'packages/core/README.md',
    install: '@lazy-attention/backend-cpu',
    blocks: ['use'],
    expects: /^0$/m,
  },
  {
    name: 'reference',
    readme: 'packages/backend-reference/README.md',
    install: '@lazy-attention/core @lazy-attention/backend-reference',
    blocks: ['use'],
    expects: /Float64Array/,
  },
  {
    name: 'cuda',
    readme: 'packages/backend-cuda/README.md',
    install: '@lazy-attention/core @lazy-attention/backend-cuda',
    sources: [probeOf('cuda')],
    expects: /^(available|not available \S)/m,
  },
  { name: 'data', readme: 'packages/data/README.md', install: '@lazy-attention/data', blocks: ['use'], expects: /\d/ },
  {
    name: 'analysis',
    readme: 'packages/analysis/README.md',
    install: '@lazy-attention/core @lazy-attention/analysis',
    more: REFERENCE,
    blocks: ['measure'],
    expects: /\d/,
  },
  {
    name: 'evaluation',
    readme: 'packages/evaluation/README.md',
    install: '@lazy-attention/core @lazy-attention/evaluation',
    more: REFERENCE,
    blocks: ['use'],
    expects: /logProbability/,
  },
  {
    name: 'models',
    readme: 'packages/models/README.md',
    install: '@lazy-attention/core @lazy-attention/models',
    sources: [importing('@lazy-attention/models/node', 'openModel')],
    expects: /^function$/m,
  },
  {
    name: 'onnx',
    readme: 'packages/onnx/README.md',
    install: '@lazy-attention/core @lazy-attention/nn @lazy-attention/onnx',
    more: REFERENCE,
    blocks: ['export'],
    sources: [importing('@lazy-attention/onnx', 'readMetadata')],
    expects: /^function$/m,
  },
  {
    name: 'conformance',
    readme: 'packages/conformance/README.md',
    install: '--save-dev @lazy-attention/conformance',
    more: ['@lazy-attention/core', ...REFERENCE],
    blocks: ['data', 'tiles', 'command'],
    expects: /^true$/m,
  },
  {
    name: 'communicator-mpi',
    readme: 'packages/communicator-mpi/README.md',
    install: '@lazy-attention/communicator-mpi',
    sources: [importing('@lazy-attention/communicator-mpi', 'mpiCommunicator')],
    expects: /^function$/m,
  },
];

/** Marked blocks that no installation runs, and why; the tests of tools/examples run them. */
export const NOT_INSTALLED = {
  'packages/onnx/README.md#run': 'onnxruntime-node is 300 MB',
  'packages/backend-tfjs/README.md#layer': '@tensorflow/tfjs-layers is one more peer',
};

/** Of a backend, as a program that says 'available' or why not. */
export { probeOf };
