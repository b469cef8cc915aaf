import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../../setup/lib/workspaces.mjs';
import { npmInstall } from './npm.mjs';

const CACHE = join(root, 'node_modules/.cache/lazy-attention-runtimes');
const PROGRAM = join(import.meta.dirname, 'train-here.mjs');

/** Losses in float32 after 20 steps may differ by this from the float64 reference's. */
const TOLERANCE = 1e-3;

const windows = process.platform === 'win32';
const nodePackage = `node-${windows ? 'win' : process.platform}-${process.arch}`;

const node = (major) => ({
  install: `${nodePackage}@${major}`,
  program: join('node_modules', nodePackage, 'bin', windows ? 'node.exe' : 'node'),
});

/**
 * Runtimes by name. `install`: the package of npm that has the program; without it, the Node that runs this. `within`: a scope
 * whose packages are one per platform, of which npm takes the right one. Install scripts are not run.
 */
export const RUNTIMES = {
  'this Node': {},
  'Node 22': node(22),
  'Node 24': node(24),
  'Node 25': node(25),
  Deno: {
    install: 'deno@2',
    within: '@deno',
    program: windows ? 'deno.exe' : 'deno',
    args: ['run', '--allow-all', '--no-lock', '--node-modules-dir=manual'],
    env: { DENO_DIR: join(CACHE, 'deno-dir') },
  },
  Bun: { install: 'bun@1', within: '@oven', program: join('bin', windows ? 'bun.exe' : 'bun') },
};

/**
 * Every runtime with every backend of the built tree, each training in a process of its own, one after another.
 * @returns { runtimes: [{ runtime, version, absent? }], cells: [{ runtime, backend, ok, loss?, said }] }; `ok` is null where the
 *   backend's probe says that it cannot run; where it can in this Node, that is a fault of ours, and `ok` is false
 */
export async function runtimeMatrix(names = Object.keys(RUNTIMES)) {
  const unknown = names.find((name) => RUNTIMES[name] === undefined);
  if (unknown !== undefined) throw new Error(`no runtime '${unknown}'; known: ${Object.keys(RUNTIMES).join(', ')}`);
  const runtimes = [];
  const cells = [];
  const { loss } = await ask(process.execPath, {}, 'reference');
  const here = (await ask(process.execPath, {})).filter(({ available }) => available).map(({ name }) => name);
  for (const runtime of names) {
    const about = RUNTIMES[runtime];
    const program = runtimeProgram(runtime);
    if (program === null) {
      runtimes.push({
        runtime,
        version: null,
        absent: `npm install ${about.install} gives no program for this platform`,
      });
      continue;
    }
    runtimes.push({ runtime, version: versionOf(program) });
    cells.push(...(await row(runtime, program, about, { loss, here })));
  }
  return { runtimes, cells };
}

async function row(runtime, program, about, { loss, here }) {
  let reports;
  try {
    reports = await ask(program, about);
  } catch (error) {
    return [{ runtime, backend: 'probe', ok: false, said: error.message }];
  }
  const cells = [];
  for (const { name: backend, available, device, reason } of reports) {
    if (available) cells.push({ runtime, backend, ...(await trained(program, about, backend, loss)), device });
    else if (here.includes(backend)) cells.push({ runtime, backend, ok: false, said: `works in Node, but: ${reason}` });
    else cells.push({ runtime, backend, ok: null, said: reason });
  }
  return cells;
}

async function trained(program, about, backend, reference) {
  try {
    const { loss } = await ask(program, about, backend);
    const ok = Math.abs(loss - reference) <= TOLERANCE; // false for NaN
    return { ok, loss, said: ok ? '' : `the last loss is ${loss}, the reference's ${reference}` };
  } catch (error) {
    return { ok: false, said: error.message };
  }
}

/** Runs train-here.mjs and reads the last line of its output. */
async function ask(program, { args = [], env = {} }, ...rest) {
  try {
    const { stdout } = await promisify(execFile)(program, [...args, PROGRAM, ...rest], {
      cwd: import.meta.dirname,
      env: { ...process.env, NO_COLOR: '1', ...env },
      timeout: 300_000,
    });
    return JSON.parse(stdout.trim().split('\n').at(-1));
  } catch (error) {
    const said = String(error.stderr ?? '').split('\n');
    throw new Error(said.find((line) => /error/i.test(line)) ?? error.message, { cause: error });
  }
}

/** The path of a runtime's program, installed into the cache on first use; null where npm cannot. */
export function runtimeProgram(runtime) {
  const { install, within, program } = RUNTIMES[runtime];
  if (install === undefined) return process.execPath;
  const folder = join(CACHE, runtime.replaceAll(/\W+/g, '-').toLowerCase());
  const found = () => candidates(folder, within, program).find((path) => existsSync(path)) ?? null;
  if (found() !== null) return found();
  return npmInstall(folder, { names: [install] }) ? found() : null;
}

function candidates(folder, within, program) {
  if (within === undefined) return [join(folder, program)];
  const scope = join(folder, 'node_modules', within);
  return existsSync(scope) ? readdirSync(scope).map((name) => join(scope, name, program)) : [];
}

function versionOf(program) {
  return execFileSync(program, ['--version'], { encoding: 'utf8' }).match(/v?\d+\.\d+\.\d+/)[0];
}

/** The cells as a table in Markdown: the last loss, 'not here' where the probe says no, or what is wrong. */
export function asTable({ runtimes, cells }) {
  const backends = [...new Set(cells.map(({ backend }) => backend))];
  const text = (runtime, backend) => {
    const cell = cells.find((entry) => entry.runtime === runtime && entry.backend === backend);
    if (cell === undefined) return '';
    if (cell.ok === null) return 'not here';
    return cell.ok ? cell.loss.toFixed(6) : `no: ${cell.said}`;
  };
  return [
    `| runtime | version | ${backends.join(' | ')} |`,
    `|---|---|${backends.map(() => '---').join('|')}|`,
    ...runtimes.map(({ runtime, version }) => {
      const row = backends.map((backend) => (version === null ? '' : text(runtime, backend)));
      return `| ${runtime} | ${version ?? 'absent'} | ${row.join(' | ')} |`;
    }),
  ].join('\n');
}
