// node tools/gpu/pack.mjs OUTPUT.tar.xz (or .tar.gz): everything that run.sh needs on a machine without Node or network.
// node tools/gpu/pack.mjs FOLDER: the same, not packed.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget } from '@lazy-attention/native/build';

const LIMIT = 64 * 1024 * 1024;
const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const output = process.argv[2];
if (output === undefined) {
  console.error('usage: node tools/gpu/pack.mjs OUTPUT.tar.xz | OUTPUT.tar.gz | FOLDER');
  process.exit(2);
}

// Workspace packages that the run loads, and what they load from npm.
const PACKAGES = ['core', 'native', 'backend-cuda', 'backend-webgpu', 'backend-reference', 'conformance', 'nn'];
const MODULES = ['node-addon-api', 'node-api-headers', 'fast-check', 'pure-rand'];
const OWN = ['run.sh', 'run.py', 'plan.py', 'library.py', 'harness.py', 'peers.py', 'tasks.mjs'];
/** Of `webgpu`, Dawn for this platform alone; the package has five. */
const DAWN = join('dist', `${process.platform}-${process.arch}`);

if (/\.tar\.[gx]z$/.test(output)) pack(resolve(output));
else makeKit(resolve(output));

function makeKit(kit) {
  mkdirSync(join(kit, 'bin'), { recursive: true });
  cpSync(process.execPath, join(kit, 'bin', 'node'));
  spawnSync('strip', [join(kit, 'bin', 'node')]);
  for (const name of PACKAGES) {
    const from = join(root, 'packages', name);
    if (!existsSync(join(from, 'dist'))) throw new Error(`${from} is not built: npm run build`);
    // As node_modules entries, so that the imports resolve.
    const to = join(kit, 'node_modules', '@lazy-attention', name);
    for (const part of readdirSync(from)) {
      if (['build', 'test', 'node_modules', 'src'].includes(part)) continue;
      cpSync(join(from, part), join(to, part), { recursive: true });
    }
  }
  for (const name of MODULES) copyModule(kit, name, '.');
  for (const part of ['package.json', 'index.js', 'LICENSE.md', DAWN]) copyModule(kit, 'webgpu', part);
  for (const file of OWN) cpSync(join(root, 'tools', 'gpu', file), join(kit, file));
  const cuda = join(root, 'packages', 'backend-cuda');
  cpSync(join(cuda, 'test', 'tile-cases.mjs'), join(kit, 'tile-cases.mjs'));
  // With the binary for every architecture, where there is one, nothing has to be built before the first result.
  const binary = join('build', hostTarget(), 'lazy_cuda.node');
  if (existsSync(join(cuda, binary))) {
    cpSync(join(cuda, binary), join(kit, 'node_modules', '@lazy-attention', 'backend-cuda', binary));
  } else {
    console.warn('without a binary (npm run build:cuda makes one): the kit builds it on the other machine');
  }
  // After the sources, so that it is newer than they are; an edit there makes it old.
  const to = join(kit, 'node_modules', '@lazy-attention', 'backend-cuda');
  const built = spawnSync('python3', [join(kit, 'library.py'), to, join(kit, 'attention.so')], { encoding: 'utf8' });
  if (built.status !== 0) console.warn(`without attention.so: ${built.stderr.trim().split('\n').at(-1)}`);
  rmSync(join(kit, 'attention.so.objects'), { recursive: true, force: true });
  rmSync(join(kit, '__pycache__'), { recursive: true, force: true });
}

function copyModule(kit, name, part) {
  const from = join(root, 'node_modules', name, part);
  if (!existsSync(from)) throw new Error(`${from} is missing: npm install`);
  cpSync(from, join(kit, 'node_modules', name, part), { recursive: true });
}

function pack(path) {
  const work = mkdtempSync(join(tmpdir(), 'lazy-kit-'));
  try {
    makeKit(join(work, 'kit'));
    const env = { ...process.env, XZ_OPT: '-T0' };
    const { status, stderr } = spawnSync('tar', [path.endsWith('xz') ? '-cJf' : '-czf', path, '-C', work, 'kit'], {
      encoding: 'utf8',
      env,
    });
    if (status !== 0) throw new Error(`tar failed: ${stderr}`);
    const { size } = statSync(path);
    if (size > LIMIT) throw new Error(`${path} has ${size} bytes; at most ${LIMIT} can be carried`);
    console.log(`${path}: ${(size / 1024 / 1024).toFixed(1)} MiB`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
