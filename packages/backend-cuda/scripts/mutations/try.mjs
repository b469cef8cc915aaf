import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget } from '@lazy-attention/native/build';
import { placeOf } from './place.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const directory = dirname(dirname(here));
const build = join(directory, 'build', `${hostTarget()}-emulated`);

/** Of a compilation or a run; both take seconds on an idle machine. */
const LIMIT_MS = 200_000;

/** Whether there is an emulated addon whose kernels can be exchanged. */
export const built = existsSync(join(build, 'lazy_cuda_emulated.node'));

/**
 * Compiles the kernels that a mutation changes, links them with the rest of the emulated addon and runs its cases.
 *
 * @param {(typeof import('./list.mjs').MUTATIONS)[number]} mutation
 * @returns {Promise<{ caught: boolean, how: string }>} caught: by a report of the emulation or by a wrong result
 */
export async function tryMutation({ file, from, to, nth, run, compile = [file], path = 'mma' }) {
  const work = mkdtempSync(join(tmpdir(), 'lazy-mutation-'));
  try {
    cpSync(join(directory, 'cpp'), join(work, 'cpp'), { recursive: true });
    const changed = join(work, 'cpp', 'kernels', file);
    const source = readFileSync(changed, 'utf8');
    const [start, end] = placeOf(source, from, nth);
    writeFileSync(changed, source.slice(0, start) + to + source.slice(end));
    const addon = join(work, 'mutant.node');
    await link(work, compile, addon);
    const env = { LAZY_ATTENTION_CUDA_EMULATED_ADDON: addon, LAZY_ATTENTION_CUDA_PATH: path };
    return verdict(await launch(process.execPath, [join(here, 'judge.mjs'), run], env));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The mutated objects come before the archive, so the archive's own are not taken. */
async function link(work, sources, addon) {
  const native = join(directory, '..', 'native', 'include');
  const flags = [
    ...['-std=c++17', '-O1', '-fPIC', '-fvisibility=hidden', '-w', '-DLAZY_EMULATED'],
    ...[`-I${join(work, 'cpp')}`, `-I${native}`],
  ];
  const objects = [];
  for (const source of sources) {
    const object = join(work, `${source}.o`);
    await compiler(['-x', 'c++', ...flags, '-c', join(work, 'cpp', 'kernels', source), '-o', object]);
    objects.push(object);
  }
  const layer = join(build, 'cmake', 'CMakeFiles', 'lazy_cuda_emulated.dir');
  const rest = readdirSync(layer, { recursive: true }).filter((name) => name.endsWith('.o'));
  const archive = join(build, 'cmake', 'libemulated.a');
  await compiler(['-shared', '-o', addon, ...rest.map((name) => join(layer, name)), ...objects, archive, '-pthread']);
}

async function compiler(args) {
  const { status, output } = await launch(process.env.CXX ?? 'c++', args);
  if (status !== 0) throw new Error(`compiler failed: ${output}`);
}

function verdict({ status, signal, output }) {
  if (status === 0) return { caught: false, how: 'all cases pass' };
  if (signal === 'SIGTERM') return { caught: false, how: `no verdict within ${LIMIT_MS / 1000} s` };
  // A run that fails without saying what is wrong with the kernel has caught nothing; a crash is a guard page's word.
  const report =
    /off by|race:|nobody wrote|outside the|divergent|never waited|waits for turn|passes on a turn|never completes|products|multiplies without|once too often|that it is ready|the device stopped working|the oracle has|its ops lead to|is NaN; the parameters/;
  const how = output.split('\n').find((line) => report.test(line));
  const crashed = signal !== null;
  return {
    caught: how !== undefined || crashed,
    how: how?.trim().slice(0, 200) ?? (crashed ? `crashed with ${signal}` : output.slice(-300)),
  };
}

function launch(file, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LIMIT_MS,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, output }));
  });
}
