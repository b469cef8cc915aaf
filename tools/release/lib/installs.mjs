import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformSync } from 'esbuild';
import { shortened } from '../../examples/lib/short.mjs';
import { marked } from '../../examples/lib/snippets.mjs';
import { follow, served } from '../../examples/lib/stories.mjs';
import { probeOf } from './cases.mjs';
import { markdown } from './tables.mjs';

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

/** The environment of somebody with nothing but Node, npm and the registry; npm keeps what it loads in `cache`. */
function bareEnvironment({ folder, registry, path, cache }) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'npmrc'), registry.npmrc);
  const kept = Object.entries(process.env).filter(([key]) => !/^(LAZY_ATTENTION_|npm_|NODE_|BASH_ENV)/.test(key));
  return {
    ...Object.fromEntries(kept),
    PATH: path,
    HOME: folder,
    npm_config_userconfig: join(folder, 'npmrc'),
    npm_config_cache: cache,
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  };
}

/**
 * Installs one case in an empty folder and runs what its README prints there.
 *
 * @returns { name, seconds, packages, bytes }
 * @throws Error with the output of what failed
 */
export async function installAndRun(test, { root, folder, registry, path, cache }) {
  const text = readFileSync(join(root, test.readme), 'utf8');
  if (!text.includes(`npm install ${test.install}`)) {
    throw new Error(`${test.readme} does not say: npm install ${test.install}`);
  }
  if (test.compiles && !text.includes(test.compiles)) throw new Error(`${test.readme} does not say: ${test.compiles}`);
  const project = join(folder, 'project');
  const env = bareEnvironment({ folder, registry, path, cache: test.measured ? join(folder, 'cache') : cache });
  mkdirSync(project, { recursive: true });
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
  const run = (command, args, more = {}) => {
    const options = { cwd: project, env: { ...env, ...more }, encoding: 'utf8' };
    const { status, stdout, stderr, error } = spawnSync(command, args, options);
    if (status !== 0) throw new Error(`${test.name}: ${args.join(' ')}\n${stdout}\n${stderr}${error ?? ''}`);
    return stdout + stderr;
  };
  const begin = Date.now();
  run('npm', ['install', ...test.install.split(' '), ...(test.more ?? [])]);
  const seconds = (Date.now() - begin) / 1000;
  const installed = { packages: countPackages(project), bytes: bytesUnder(join(project, 'node_modules')) };
  for (const [what, most] of Object.entries(test.most ?? {})) {
    if (installed[what] > most) throw new Error(`${test.name} installs ${installed[what]} ${what}; at most ${most}`);
  }

  const evaluate = (name, source) => {
    writeFileSync(join(project, `${name}.mjs`), source);
    return run('node', [join(project, `${name}.mjs`)]);
  };
  const perform = ({ name, on, short, language, code }) => {
    if (on !== undefined && !/^available/m.test(evaluate('probe', probeOf(on)))) return '';
    if (language === 'sh') return run('bash', ['-euc', short ? shortened(code, project) : code]);
    return evaluate(`block-${name}`, transformSync(code, { loader: 'ts', format: 'esm', target: 'es2022' }).code);
  };
  if (test.compiles) run('sh', ['-c', test.compiles], { PATH: process.env.PATH });
  const output = [
    ...blocksOf(root, 'README.md', test.rootBlocks).map(perform),
    ...blocksOf(root, test.readme, test.blocks).map(perform),
    ...(test.sources ?? []).map((source, i) => evaluate(`source-${i}`, source)),
  ].join('');
  if (!test.expects.test(output)) {
    throw new Error(`${test.name}: the output does not match ${test.expects}:\n${output}`);
  }
  if (test.serves) await served(test.serves, { folder: project, env }, visit);
  return { name: test.name, seconds, ...installed };
}

function blocksOf(root, file, names = []) {
  const found = marked(file, readFileSync(join(root, file), 'utf8'));
  return names.map((name) => {
    const block = found.find((entry) => entry.name === name);
    if (block === undefined) throw new Error(`${file} has no block '${name}'`);
    return block;
  });
}

/** Does a quick start in an empty folder. @returns why it had to stop before its end, or null */
export function followInstalled(story, { folder, registry, path, cache }) {
  const project = join(folder, 'project');
  const env = bareEnvironment({ folder, registry, path, cache });
  mkdirSync(project, { recursive: true });
  return follow(story, {
    folder: project,
    env,
    lacks: (name) => `${name} is not on the PATH of the rehearsal`,
    visit: async (url) => {
      await visit(url);
      return null; // nobody looks at it here
    },
  });
}

/** The first two requests of a browser: the page, and its program, which must arrive whole. */
async function visit(url) {
  const html = await (await fetch(url)).text();
  const source = /src="([^"]+\.js)"/.exec(html)?.[1];
  if (source === undefined) throw new Error(`the page at ${url} names no program`);
  const program = await fetch(new URL(source, url));
  if (!program.ok || (await program.text()).length < 1000) throw new Error(`the program of ${url} is not there`);
}

/** The measured installations as a table in Markdown. */
export function installsTable(installs) {
  const rows = installs.map(({ install, seconds, packages, bytes }) => [
    `\`npm install ${install}\``,
    `${seconds.toFixed(1)} s`,
    packages,
    `${(bytes / 1e6).toFixed(1)} MB`,
  ]);
  return markdown([['from the registry on localhost', 'wall time', 'packages', 'size'], ...rows]);
}

/** Packages under a project's node_modules, nested ones too. */
export function countPackages(project) {
  const lock = JSON.parse(readFileSync(join(project, 'node_modules/.package-lock.json'), 'utf8'));
  return Object.keys(lock.packages).filter((path) => path !== '').length;
}

export function bytesUnder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).reduce(
    (sum, entry) => sum + (entry.isFile() ? lstatSync(join(entry.parentPath ?? entry.path, entry.name)).size : 0),
    0,
  );
}
