// Runs on the GPU machine: every step of plan.mjs in a process of its own, with a time limit; results are in the JSON file after
// each step, so that nothing measured is lost when time runs out. A step that fails leaves its error and what it had said.
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rehearsal, STEPS } from './plan.mjs';
import { summarise } from './report.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    // A file with the authors' kernel.
    authors: { type: 'string' },
    // Steps, separated by commas.
    only: { type: 'string', default: '' },
    skip: { type: 'string', default: '' },
    // Seconds for everything.
    budget: { type: 'string', default: '560' },
    // Tiny shapes on the emulated device.
    rehearse: { type: 'boolean', default: false },
  },
});
const output = resolve(positionals[0] ?? 'results.json');
const list = (text) => text.split(',').filter((name) => name !== '');
const [only, skip] = [list(values.only), list(values.skip)];
const began = performance.now();
const secondsLeft = () => Number(values.budget) - (performance.now() - began) / 1000;
const cuda = join(here, 'node_modules', '@lazy-attention', 'backend-cuda');
const python = process.env.PYTHON ?? 'python3';
const results = { started: new Date().toISOString(), rehearsal: values.rehearse, summary: {}, steps: {} };

/**
 * Runs a command for at most `limit` seconds, with everything that it starts.
 *
 * @returns what it said until then; `problem` when it did not end well
 */
function execute(file, args, limit, { cwd = here } = {}) {
  return new Promise((done) => {
    const said = { stdout: '', stderr: '' };
    const child = spawn(file, args, { cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (text) => {
        said[stream] += text;
      });
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      process.kill(-child.pid, 'SIGKILL');
    }, limit * 1000);
    const end = (problem) => {
      clearTimeout(timer);
      done({ ...said, problem: late ? `took more than ${Math.round(limit)} s` : problem });
    };
    child.on('error', (error) => end(error.message));
    // Not 'close': a grandchild may hold the pipes open. What is in them has arrived by the next turn or is not waited for.
    child.on('exit', (code, signal) =>
      setTimeout(() => end(code === 0 ? null : `ended with ${signal ?? `code ${code}`}`), 200),
    );
  });
}

/** Every line of output that is a JSON object, merged. */
function findings(stdout) {
  const entry = {};
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    try {
      Object.assign(entry, JSON.parse(line));
    } catch {
      // Cut off by the time limit.
    }
  }
  return entry;
}

function outcome({ stdout, stderr, problem }) {
  const entry = findings(stdout);
  if (problem === null) return { ok: true, ...entry };
  return { ok: false, error: `${problem}: ${`${stdout}${stderr}`.slice(-3000)}`, ...entry };
}

const task = (name, argument, limit) =>
  execute(process.execPath, [join(here, 'tasks.mjs'), name, JSON.stringify(argument)], limit);

async function sanitize({ tool, task: name, argument }, limit) {
  const command = [process.execPath, join(here, 'tasks.mjs'), name, JSON.stringify(argument)];
  const options = ['--tool', tool, '--error-exitcode', '9', '--target-processes', 'all'];
  const said = await execute('compute-sanitizer', [...options, ...command], limit);
  const summary = said.stdout.split('\n').filter((line) => /ERROR SUMMARY|RACECHECK SUMMARY/.test(line));
  return { ...outcome(said), summary };
}

async function machine(limit) {
  const query = '--query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit';
  const entry = { node: process.version };
  for (const [name, file, args] of [
    ['gpu', 'nvidia-smi', [query, '--format=csv,noheader']],
    ['nvcc', 'nvcc', ['--version']],
    ['cmake', 'cmake', ['--version']],
    ['python', python, ['-c', 'import torch; print(torch.__version__, torch.version.cuda)']],
  ]) {
    const { stdout, problem } = await execute(file, args, limit / 3);
    entry[name] =
      problem ??
      stdout
        .trim()
        .split('\n')
        .at(name === 'cmake' ? 0 : -1);
  }
  return { ok: true, ...entry };
}

async function build(limit) {
  const args = [join(cuda, 'scripts', 'build.mjs'), '--architectures=native'];
  return outcome(await execute(process.execPath, args, limit, { cwd: cuda }));
}

/** The binary that was packed, where there is one that works here; else one that is built here. */
async function binary(limit) {
  const packed = outcome(await task('probe', {}, limit / 4));
  if (packed.ok) return { ...packed, from: 'the kit' };
  const built = await build(limit);
  if (!built.ok) return { ...built, packed: packed.error };
  return { ...outcome(await task('probe', {}, 60)), from: 'a build here', packed: packed.error };
}

function perform(step, limit) {
  if (step.name === 'machine') return machine(limit);
  if (step.name === 'binary') return binary(limit);
  if (step.name === 'source build') return build(limit);
  if (step.tool) return sanitize(step, limit);
  if (step.peers) {
    const authors = values.authors ? ['--authors', resolve(values.authors)] : [];
    return execute(python, [join(here, 'peers.py'), ...step.peers, ...authors], limit).then(outcome);
  }
  return task(step.task, step.argument, limit).then(outcome);
}

if (values.rehearse) process.env.LAZY_ATTENTION_CUDA_DEVICE = 'emulated';
process.env.PYTHONUNBUFFERED = '1';
// Where containers have the driver's Vulkan description, if no loader looks there by itself.
const descriptions = ['/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json', '/etc/vulkan/icd.d/nvidia_icd.json'];
const description = descriptions.find(existsSync);
if (process.env.VK_DRIVER_FILES === undefined && description !== undefined) process.env.VK_DRIVER_FILES = description;

for (const planned of STEPS) {
  const step = values.rehearse ? rehearsal(planned) : planned;
  if (skip.includes(step.name) || (only.length > 0 && !only.includes(step.name))) continue;
  const start = performance.now();
  const limit = Math.min(step.limit, secondsLeft());
  const entry = limit < 5 ? { ok: false, error: 'no time left' } : await perform(step, limit);
  const seconds = (performance.now() - start) / 1000;
  results.steps[step.name] = { ...entry, seconds };
  results.summary = summarise(results.steps);
  writeFileSync(output, JSON.stringify(results, null, 2));
  const what = entry.ok ? 'ok    ' : 'FAILED';
  console.log(`${what} ${step.name} (${seconds.toFixed(1)} s) ${(entry.error ?? '').slice(0, 600)}`);
}
console.log(JSON.stringify(results.summary, null, 2));
process.exit(Object.values(results.steps).every(({ ok }) => ok) ? 0 : 1);
