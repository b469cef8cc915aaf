// node tools/gpu/pack.mjs OUTPUT.tar.xz: everything that run.sh needs on a machine without Node or network.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIMIT = 64 * 1024 * 1024;
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const output = process.argv[2];
if (output === undefined) {
  console.error('usage: node tools/gpu/pack.mjs OUTPUT.tar.xz');
  process.exit(2);
}

// Workspace packages that the run loads, and what they load from npm.
const PACKAGES = ['core', 'native', 'backend-cuda', 'backend-reference', 'conformance', 'nn'];
const MODULES = ['node-addon-api', 'node-api-headers', 'fast-check', 'pure-rand'];

const work = mkdtempSync(join(tmpdir(), 'lazy-kit-'));
try {
  const kit = join(work, 'kit');
  mkdirSync(join(kit, 'bin'), { recursive: true });
  cpSync(process.execPath, join(kit, 'bin', 'node'));
  spawnSync('strip', [join(kit, 'bin', 'node')]);
  for (const name of PACKAGES) {
    const from = join(root, 'packages', name);
    if (!existsSync(join(from, 'dist'))) throw new Error(`${from} is not built: npm run build`);
    // As node_modules entries, so that the imports resolve; the build folder is made on the other machine.
    const to = join(kit, 'node_modules', '@lazy-attention', name);
    for (const part of readdirSync(from)) {
      if (['build', 'test', 'node_modules', 'src'].includes(part)) continue;
      cpSync(join(from, part), join(to, part), { recursive: true });
    }
  }
  for (const name of MODULES) {
    const from = join(root, 'node_modules', name);
    if (!existsSync(from)) throw new Error(`${from} is missing: npm install`);
    cpSync(from, join(kit, 'node_modules', name), { recursive: true });
  }
  for (const file of ['run.sh', 'device.mjs', 'peers.py']) cpSync(join(root, 'tools', 'gpu', file), join(kit, file));
  const { status, stderr } = spawnSync('tar', ['-cJf', resolve(output), '-C', work, 'kit'], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`tar failed: ${stderr}`);
  const { size } = statSync(output);
  if (size > LIMIT) throw new Error(`${output} has ${size} bytes; at most ${LIMIT} can be carried`);
  console.log(`${output}: ${(size / 1024 / 1024).toFixed(1)} MiB`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
