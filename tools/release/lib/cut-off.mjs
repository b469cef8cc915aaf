import { spawnSync } from 'node:child_process';
import { networkInterfaces } from 'node:os';

/** Whether this process reaches nothing but its own machine. */
export function isCutOff() {
  return Object.values(networkInterfaces())
    .flat()
    .every(({ internal }) => internal);
}

/** Runs a program of Node's in a network namespace that has localhost alone. @returns its exit code @throws Error where that cannot be made */
export function runCutOff(program, args) {
  // As root `unshare` needs no namespace of users, which some systems refuse.
  const users = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const start = 'ip link set lo up && exec "$@"';
  const { status, error } = spawnSync(
    'unshare',
    ['--net', ...users, 'sh', '-c', start, 'sh', process.execPath, program, ...args],
    { stdio: 'inherit' },
  );
  if (error !== undefined) throw new Error(`--cut-off needs unshare and ip of Linux: ${error.message}`);
  return status ?? 1;
}
