import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { currentTarget, targetName } from '@lazy-attention/native';
import { root } from '../../../setup/lib/workspaces.mjs';

const CONFORMANCE = join(root, 'packages/conformance/bin/lazy-attention-conformance.js');
const LOAD = join(import.meta.dirname, 'load-binary.mjs');

/** What is worth trying on a processor: the best that it has, and what needs nothing. */
const ISAS = ['auto', 'portable'];

/** Words that start a Node for `target`: this one for this machine, else those in NODE_FOR_LINUX_ARM64_GLIBC and the like; null where there is none. */
export function nodeFor(target, env = process.env) {
  const named = env[`NODE_FOR_${target.toUpperCase().replaceAll('-', '_')}`];
  if (named) return named.split(' ');
  return target === targetName(currentTarget()) ? [process.execPath] : null;
}

/**
 * Runs a binary with a Node of its platform: the CPU's through the small conformance suite, any other is loaded and no more.
 * @returns { ok, said }; null where there is no such Node here
 */
export function tryBinary({ name, target, path }, folder) {
  const node = nodeFor(target);
  if (node === null) return null;
  mkdirSync(folder, { recursive: true });
  const out = join(folder, `${name}-${target}.json`);
  if (name !== 'backend-cpu') {
    if (ran(node, [LOAD, out, path], {}, out).text === null) return { ok: false, said: 'does not load' };
    const ranks = name === 'communicator-mpi' && target === targetName(currentTarget()) ? addsUp(path) : null;
    return { ok: ranks?.ok ?? true, said: ['loads', ...(ranks === null ? [] : [ranks.said])].join('; ') };
  }
  const runs = ISAS.map((isa) => {
    const env = { LAZY_ATTENTION_CPU_ADDON: path, LAZY_ATTENTION_ISA: isa };
    return outcome(isa, ran(node, [CONFORMANCE, 'cpu', '--size', 'small', '--out', out], env, out));
  });
  return { ok: runs.every(({ ok }) => ok), said: runs.map(({ said }) => said).join('; ') };
}

/** Two ranks of MPI on this machine; null where there is no mpirun. */
function addsUp(path) {
  const args = ['--oversubscribe', '-n', '2', process.execPath, join(root, 'packages/communicator-mpi/test/ranks.mjs')];
  const asRoot = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const { status, error } = spawnSync('mpirun', args, {
    env: { ...process.env, ...asRoot, LAZY_ATTENTION_MPI_ADDON: path },
    stdio: 'ignore',
  });
  if (error !== undefined) return null;
  return status === 0 ? { ok: true, said: 'two ranks add up' } : { ok: false, said: 'two ranks do NOT add up' };
}

/** What a program wrote to `out`, null where nothing, and how it ended. Node under Wine cannot print to a pipe. */
function ran([program, ...args], more, env, out) {
  rmSync(out, { force: true });
  const { status, signal } = spawnSync(program, [...args, ...more], {
    env: { ...process.env, ...env },
    stdio: 'ignore',
  });
  return { text: existsSync(out) ? readFileSync(out, 'utf8') : null, ended: signal ?? status };
}

/** The command ends with 0, or with 1 where tests failed; with anything else it did not get to its end. */
function outcome(isa, { text, ended }) {
  const results = (text ?? '').split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
  const failed = results.filter(({ status }) => status === 'failed');
  const passed = results.filter(({ status }) => status === 'passed').length;
  if (passed === 0) return { ok: false, said: `${isa}: does not run` };
  const wrong = failed.length === 0 ? 'none failed' : `FAILED: ${failed.map(({ name }) => name).join(', ')}`;
  const cut = ended === 0 || ended === 1 ? '' : `, then it ENDED (${ended}) after ${results.at(-1).name}`;
  return { ok: failed.length === 0 && cut === '', said: `${isa}: ${passed} conformance tests passed, ${wrong}${cut}` };
}
