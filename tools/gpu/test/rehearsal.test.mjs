import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget } from '@lazy-attention/native/build';
import { afterAll, expect, test } from 'vitest';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const emulated = join(here, '../../packages/backend-cuda/build', `${hostTarget()}-emulated`, 'lazy_cuda_emulated.node');
const folder = mkdtempSync(join(tmpdir(), 'lazy-kit-'));
afterAll(() => rmSync(folder, { recursive: true }));

const runs = (file, ...args) => spawnSync(file, args, { stdio: 'ignore' }).status === 0;
const python = process.env.PYTHON ?? 'python3';
const hasTorch = runs(python, '-c', 'import torch');

/** What a program of plan.py says. */
const ofPlan = (source) =>
  JSON.parse(execFileSync(python, ['-c', `import json, plan\n${source}`], { cwd: here, encoding: 'utf8' }));

/** A PATH with a shell, Python and a compiler, and nothing else: no Node, no xz, no nvcc. */
function bareness() {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  // The interpreter itself: a version manager's stand-in on the PATH needs more than this PATH has.
  const itself = spawnSync(python, ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).stdout.trim();
  symlinkSync(itself, join(bin, 'python3'));
  for (const name of ['sh', 'dirname', 'c++', 'as', 'ld']) {
    const path = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
    if (path !== '') symlinkSync(path, join(bin, name));
  }
  // By its own path: that of a virtual environment finds its packages from there.
  return { PATH: bin, HOME: folder, PYTHON: itself, LAZY_ATTENTION_CUDA_EMULATED_ADDON: emulated };
}

test('the limits of a call add up to its budget, under ten minutes', (context) => {
  if (!runs(python, '--version')) context.skip('there is no Python');
  const { sums, budget } = ofPlan(
    'print(json.dumps({"sums": [sum(s["limit"] for s in c) for c in plan.CALLS.values()], "budget": plan.BUDGET}))',
  );
  expect(budget).toBeLessThanOrEqual(570);
  for (const sum of sums) expect(sum).toBeLessThanOrEqual(budget);
});

test('the kit runs without Node on the PATH, GPU, xz or network', { timeout: 900_000 }, (context) => {
  if (!existsSync(emulated)) context.skip('no C++ compiler built the emulated device');
  if (!runs(python, '--version')) context.skip('there is no Python');
  // As it travels: packed here, unpacked by Python's own tarfile there.
  const packed = join(folder, 'kit.tar.gz');
  execFileSync(process.execPath, [join(here, 'pack.mjs'), packed], {
    env: { ...process.env, CUDACXX: '/nowhere' },
    stdio: 'ignore',
  });
  execFileSync(python, ['-m', 'tarfile', '-e', packed, folder], { stdio: 'ignore' });
  rmSync(packed);
  // Built here, for the step's limit is that of a machine with more processors.
  const cuda = join(folder, 'kit', 'node_modules', '@lazy-attention', 'backend-cuda');
  const library = join(folder, 'kit', 'attention.so');
  execFileSync(python, [join(folder, 'kit', 'library.py'), cuda, library, '--emulated'], { stdio: 'ignore' });
  const env = bareness();
  const rehearse = (call, ...options) => {
    const path = join(folder, `${call}.json`);
    const args = [call, path, '--rehearse', ...options];
    spawnSync(join(folder, 'kit', 'run.sh'), args, { env, stdio: 'ignore' });
    return JSON.parse(readFileSync(path, 'utf8')).steps;
  };
  const elsewhere = ['ncu', 'memcheck', 'racecheck', 'synccheck', 'initcheck', 'webgpu', 'source build', 'machine'];
  for (const call of ['A', 'B', 'C']) {
    const steps = rehearse(call, '--skip', call === 'A' ? '' : 'webgpu,source build,peers 128');
    for (const [name, step] of Object.entries(steps)) {
      const needsTorch = /^(hopper|error|time|repeat|decode|peers)/.test(name);
      // What cannot run here says so in its first line, and in time.
      if (elsewhere.includes(name) || (needsTorch && !hasTorch)) {
        if (!step.ok) expect(step.error, name).toMatch(/was not found|No module named 'torch'/);
      } else {
        expect(step, `${call}: ${name}`).toMatchObject({ ok: true });
      }
    }
  }
  const late = rehearse('B', '--only', 'machine,products', '--budget', '1');
  expect(late.products).toMatchObject({ ok: false, error: 'no time left' });
});
