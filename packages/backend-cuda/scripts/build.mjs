// npm run build:cuda [-- --architectures=native]    the addon for NVIDIA GPUs; needs nvcc
// npm run build                                     the emulated device, for tests on any machine
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildAddon } from '@lazy-attention/native/build';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(`${directory}/package.json`, 'utf8'));
const { values } = parseArgs({
  options: { emulated: { type: 'boolean', default: false }, architectures: { type: 'string', default: 'all' } },
});

function findNvcc() {
  const candidates = [process.env.CUDACXX, 'nvcc', '/usr/local/cuda/bin/nvcc'].filter(Boolean);
  return candidates.find((nvcc) => spawnSync(nvcc, ['--version'], { stdio: 'ignore' }).status === 0);
}

if (values.emulated) {
  const output = buildAddon({ directory, version, variant: '-emulated', defines: { LAZY_EMULATED: 'ON' } });
  if (output !== null) console.log(`built lazy_cuda_emulated.node in ${output}`);
} else {
  const nvcc = findNvcc();
  if (nvcc === undefined) {
    console.error(
      'build:cuda: nvcc was not found (looked at CUDACXX, PATH and /usr/local/cuda/bin). ' +
        'Install the CUDA toolkit 13.0 or later, or use a prebuilt package.',
    );
    process.exit(1);
  }
  process.env.CUDACXX = existsSync(nvcc) ? nvcc : spawnSync('which', [nvcc], { encoding: 'utf8' }).stdout.trim();
  // Always said, for CMake remembers what an earlier build was told.
  const defines = { LAZY_EMULATED: 'OFF', LAZY_ARCHITECTURES: values.architectures };
  const output = buildAddon({ directory, version, defines });
  if (output === null) process.exit(1);
  console.log(`built lazy_cuda.node in ${output}`);
}
