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

const importing = (name, what) => `import * as all from '${name}'; console.log(typeof all.${what});\n`;

/** What a CDN gives a page. */
const ONE_FILE = `
import { createBackend, lazyTransformer } from './node_modules/lazy-attention/web/lazy-attention.js';
console.log('one file:', typeof createBackend, typeof lazyTransformer);
`;
const REFERENCE = ['@lazy-attention/backend-reference'];

/**
 * What a reader of the READMEs installs and runs. `install`: as it stands in the README, which is checked; `more`: what that README
 * leaves to choose. `blocks` and `rootBlocks`: marked blocks of that README and of the repository's, by name; `sources`: more modules.
 * `compiles`: a command of that README that wants a compiler, so the machine's whole PATH is there; only with --from-source.
 * `serves`: a command whose page is visited. `expects`: a pattern that the output matches. `measured`: with an empty cache, for the
 * table. `most`: what it may take.
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
    name: 'cpu from source',
    readme: 'packages/backend-cpu/README.md',
    install: '@lazy-attention/core @lazy-attention/backend-cpu',
    more: ['--omit=optional'],
    compiles: 'npm run build:native --prefix node_modules/@lazy-attention/backend-cpu',
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
    rootBlocks: ['train'],
    blocks: ['commands', 'tokenize', 'from', 'score'],
    sources: [ONE_FILE],
    serves: 'npx lazy-attention playground --port 0',
    expects: /validation loss[\s\S]*one file: function function/,
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

/** Commands of a README that no installation runs, by how they begin, and why. */
export const NOT_RUN = {
  'README.md: npx lazy-attention inspect SmolLM2':
    'the model is of others; the quick start own-model does it with one of its own',
  'README.md: npm start': 'of the repository; its CI runs it',
  'README.md: npm test': 'of the repository; its CI runs it',
  'apps/playground/README.md: npm run playground': 'of the repository; `lazy-attention playground` is visited',
  'apps/playground/README.md: npx lazy-attention playground': 'it serves until it is stopped; it is visited',
  'packages/backend-cpu/README.md: npm run build:native': 'it needs a compiler; --from-source does it',
  'packages/backend-cuda/README.md: npm run build:cuda': 'it needs the CUDA toolkit',
  'packages/backend-tfjs/README.md: node_modules/@lazy-attention/backend-tfjs/scripts/install-tfjs-node.sh':
    'it needs pip and 250 MB; CI does it',
  'packages/onnx/README.md: ONNXRUNTIME_NODE_INSTALL': 'onnxruntime-node is 300 MB',
  'packages/communicator-mpi/README.md: apt-get': 'of the system',
  'packages/communicator-mpi/README.md: mpirun': 'it needs MPI; the package’s tests do it',
};

/** Of a backend, as a program that says 'available' or why not. */
export { probeOf };
