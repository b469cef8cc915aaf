import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { marked } from '../../examples/lib/snippets.mjs';

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

/**
 * What a reader of the READMEs installs and runs. `install`: as it stands in the README, which is checked. `modules` and `scripts`:
 * the marked blocks of that README by name. `expects`: a pattern that the output matches.
 */
export const CASES = [
  {
    name: 'core + cpu',
    readme: 'README.md',
    install: '@lazy-attention/core @lazy-attention/backend-cpu',
    modules: ['op'],
    sources: [probeOf('cpu')],
    expects: /^available/m,
  },
  {
    name: 'core + webgpu',
    readme: 'packages/backend-webgpu/README.md',
    install: '@lazy-attention/core @lazy-attention/backend-webgpu',
    more: ['webgpu'],
    sources: [probeOf('webgpu')],
    // Without a Vulkan driver it must still say what it lacks.
    expects: /^(available|not available \S)/m,
  },
  {
    name: 'core + tfjs',
    readme: 'packages/backend-tfjs/README.md',
    install:
      '@lazy-attention/core @lazy-attention/backend-tfjs @tensorflow/tfjs-core@4 @tensorflow/tfjs-backend-wasm@4',
    sources: [probeOf('tfjs')],
    expects: /^available/m,
  },
  {
    name: 'core + nn + reference',
    readme: 'packages/nn/README.md',
    install: '@lazy-attention/core @lazy-attention/nn',
    more: ['@lazy-attention/backend-reference'],
    rootModules: ['layer'],
    expects: /2, *16, *64/,
  },
  {
    name: 'lazy-attention',
    readme: 'apps/train/README.md',
    install: 'lazy-attention',
    sources: [PLAYGROUND],
    rootScripts: ['train'],
    expects: /the playground is served[\s\S]*(validation|loss)/i,
  },
];

/** A folder with the programs that an installation may use: Node, npm and a shell, and no compiler. */
export function barePath(folder) {
  mkdirSync(folder, { recursive: true });
  const node = dirname(process.execPath);
  const where = (name) => execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
  symlinkSync(process.execPath, join(folder, 'node'));
  const npm = ['npm', 'npx'].map((name) => [name, where(name) || join(node, name)]);
  for (const [name, path] of [...npm, ...['sh', 'bash', 'env'].map((shell) => [shell, where(shell)])]) {
    symlinkSync(path, join(folder, name));
  }
  return folder;
}

/**
 * Installs one case in an empty folder and runs what its README prints there.
 *
 * @returns { name, seconds, packages, bytes, output }
 * @throws Error with the output of what failed
 */
export function installAndRun(test, { root, folder, registry, path }) {
  const text = readFileSync(join(root, test.readme), 'utf8');
  if (!text.includes(`npm install ${test.install}`)) {
    throw new Error(`${test.readme} does not say: npm install ${test.install}`);
  }
  const env = {
    ...Object.fromEntries(
      Object.entries(process.env).filter(([key]) => !/^(LAZY_ATTENTION_|npm_|NODE_|BASH_ENV)/.test(key)),
    ),
    PATH: path,
    HOME: folder,
    npm_config_userconfig: join(folder, 'npmrc'),
    npm_config_cache: join(folder, 'cache'),
  };
  const project = join(folder, 'project');
  mkdirSync(project, { recursive: true });
  writeFileSync(join(folder, 'npmrc'), registry.npmrc);
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  const run = (command, args) => {
    const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: project, env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${test.name}: ${args.join(' ')}\n${stdout}\n${stderr}${error ?? ''}`);
    return stdout + stderr;
  };
  const begin = Date.now();
  run('npm', ['install', '--no-audit', '--no-fund', ...test.install.split(' '), ...(test.more ?? [])]);
  const seconds = (Date.now() - begin) / 1000;
  const installed = {
    packages: countPackages(join(project, 'node_modules')),
    bytes: bytesUnder(join(project, 'node_modules')),
  };

  let output = '';
  const own = marked(test.readme, text);
  const first = marked('README.md', readFileSync(join(root, 'README.md'), 'utf8'));
  const block = (blocks, name) => blocks.find((entry) => entry.name === name)?.code ?? missing(test, name);
  const modules = [
    ...(test.modules ?? []).map((name) => block(own, name)),
    ...(test.rootModules ?? []).map((name) => block(first, name)),
    ...(test.sources ?? []),
  ];
  for (const [index, source] of modules.entries()) {
    const file = join(project, `block-${index}.mjs`);
    writeFileSync(file, source);
    output += run('node', [file]);
  }
  for (const name of test.rootScripts ?? []) output += run('bash', ['-euc', block(first, name)]);
  if (!test.expects.test(output))
    throw new Error(`${test.name}: the output does not match ${test.expects}:\n${output}`);
  return { name: test.name, seconds, ...installed, output };
}

function missing(test, name) {
  throw new Error(`${test.name}: no README has a block '${name}'`);
}

/** Packages under a node_modules folder, nested ones too. */
export function countPackages(folder) {
  const lock = JSON.parse(readFileSync(join(folder, '.package-lock.json'), 'utf8'));
  return Object.keys(lock.packages).filter((path) => path !== '').length;
}

export function bytesUnder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).reduce(
    (sum, entry) => sum + (entry.isFile() ? lstatSync(join(entry.parentPath ?? entry.path, entry.name)).size : 0),
    0,
  );
}
