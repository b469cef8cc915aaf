import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './workspaces.mjs';

/** Runs a program in the repository root with its output on ours; returns its exit code. */
export function run(command, args, env = {}) {
  const shell = process.platform === 'win32' && command === 'npm'; // a script there, which only a shell starts
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env }, shell });
  if (result.error) {
    console.error(`${command} could not be started: ${result.error.message}`);
    return 1;
  }
  return result.status ?? 128;
}

/** A program out of node_modules, run by this Node. */
export function tool(name, script, args) {
  return run(process.execPath, [join(root, 'node_modules', name, script), ...args]);
}

export function turbo(args) {
  return run(process.execPath, [join(root, 'node_modules', 'turbo', 'bin', 'turbo'), ...args], {
    TURBO_TELEMETRY_DISABLED: '1',
    TURBO_NO_UPDATE_NOTIFIER: '1',
  });
}
