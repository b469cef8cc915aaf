import { execFile } from 'node:child_process';
import type { ProbeResult } from '@lazy-attention/core';
import type { NativeProbe } from './addon.ts';
import { type AddonPlace, buildCommand, locateAddon } from './locate.ts';

/** A probe together with the binary that answered it. */
export interface AddonProbe {
  /** What the addon said, or why it could not be asked. */
  readonly result: ProbeResult;
  /** Of the binary; null when there is none. */
  readonly path: string | null;
}

/** The path comes last: Deno, unlike Node and Bun, puts a name for the script before it. */
const SCRIPT = `
const addon = require(process.argv.at(-1));
process.stdout.write(JSON.stringify({ version: addon.version, probe: addon.probe() }));
`;

const TOO_SLOW = 'did not answer within 60 s: the machine is busy, or a driver hangs; try again';

const probes = new Map<string, Promise<AddonProbe>>();

/**
 * Loads the addon in a child process first: a binary that crashes (wrong instruction set, broken driver) takes that one
 * along and not the program. The answer is kept for the life of the process.
 */
export function probeAddon(place: AddonPlace): Promise<AddonProbe> {
  const located = locateAddon(place);
  if (located.path === null) {
    const { reason, fix } = located;
    return Promise.resolve({ path: null, result: { available: false, device: '', reason, fix } });
  }
  const { path } = located;
  const key = `${place.version} ${path}`;
  const known = probes.get(key);
  if (known !== undefined) return known;
  const probe = inChild(path).then((answer) => {
    if (answer.tried === false) probes.delete(key); // another time there may be a process to spare
    return { path, result: judge(place, path, answer) };
  });
  probes.set(key, probe);
  return probe;
}

interface Answer {
  readonly output: string;
  readonly error: string | null;
  /** False where the system did not even start the child, or it was too slow. */
  readonly tried?: boolean;
}

function inChild(path: string): Promise<Answer> {
  return new Promise<Answer>((resolve) => {
    execFile(
      process.execPath,
      ['-e', SCRIPT, path],
      { timeout: 60_000, env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '', NO_COLOR: '1' } },
      (error, stdout, stderr) => {
        if (error === null) resolve({ output: stdout, error: null });
        else if (error.killed === true) resolve({ output: '', error: TOO_SLOW, tried: false });
        else if (error.signal) resolve({ output: '', error: `crashed with ${error.signal}` });
        else if (typeof error.code === 'string') resolve(untried(error));
        else resolve({ output: '', error: `cannot be loaded: ${firstError(stderr)}` });
      },
    );
  }).catch(untried);
}

function untried(error: Error): Answer {
  const reason = `cannot be tried in a child process: ${error.message} (limits: ulimit -u, ulimit -v)`;
  return { output: '', error: reason, tried: false };
}

function firstError(stderr: string): string {
  return (
    stderr
      .split('\n')
      .find((line) => line.startsWith('Error:'))
      ?.slice('Error: '.length) ?? stderr.trim()
  );
}

function judge(place: AddonPlace, path: string, { output, error, tried }: Answer): ProbeResult {
  const unavailable = (reason: string): ProbeResult => ({
    available: false,
    device: '',
    reason: `${path} ${reason}`,
    // Of a binary that was not tried nobody knows that it is wrong.
    ...(tried === false ? {} : { fix: buildCommand(place) }),
  });
  if (error !== null) return unavailable(error);
  const { version, probe } = JSON.parse(output) as { version: string; probe: NativeProbe };
  if (version !== place.version) {
    return unavailable(`has version ${version}; the JavaScript of ${place.packageName} has ${place.version}`);
  }
  const { available, device, reason, fix } = probe;
  return { available, device, reason, ...(fix === undefined ? {} : { fix }) };
}
