/** What the native backends' tests share: binaries that do not fit, and an installation without a network. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProbeResult } from '@lazy-attention/core';
import { currentTarget, targetName } from './binary.ts';
import type { AddonPlace } from './locate.ts';
import { probeAddon } from './probe.ts';

/** A binary that must be refused by name. */
export interface Misfit {
  /** What is wrong with the binary. */
  readonly name: string;
  /** The probe's answer where this binary lies in the place of the right one, in an empty `folder`. */
  probe(folder: string): Promise<ProbeResult>;
  /** What the probe must answer. */
  readonly reason: RegExp;
}

/** Ways in which the binary at `path`, which fits `place`, can be the wrong one on this machine. */
export function misfits(place: AddonPlace, path: string): Misfit[] {
  const target = currentTarget();
  const bytes = () => readFileSync(path);
  const misfit = (name: string, change: () => Uint8Array, reason: RegExp, at: Partial<AddonPlace> = {}): Misfit => ({
    name,
    reason,
    probe: async (folder) => {
      const build = join(folder, 'build', targetName(target));
      mkdirSync(build, { recursive: true });
      writeFileSync(join(build, place.file), change());
      return (await probeAddon({ ...place, ...at, directory: folder })).result;
    },
  });
  const otherArch = target.arch === 'arm64' ? 'x64' : 'arm64';
  const elf = [
    misfit(
      'another architecture',
      () => {
        const changed = bytes();
        changed.writeUInt16LE(otherArch === 'x64' ? 62 : 183, 18);
        return changed;
      },
      new RegExp(`is for architecture ${otherArch}; this Node is ${target.arch}`),
    ),
    misfit(
      'another C library',
      // A name that a musl build would need, behind the end: the header alone decides, nothing is loaded.
      () => Buffer.concat([bytes(), Buffer.from('libc.musl-x86_64.so.1')]),
      new RegExp(`is for C library musl; this system has ${target.libc}`),
    ),
  ];
  return [
    misfit('another version', bytes, /has version \d+\.\d+\.\d+; the JavaScript of .* has 9\.9\.9/, {
      version: '9.9.9',
    }),
    ...(target.libc === 'glibc' ? elf : []),
    misfit('another platform', machO, new RegExp(`is for platform darwin; this is ${target.platform}`)),
    misfit('no library', () => Buffer.from('not a library'), /is not a shared library/),
    // The loader's own words, and the process goes on.
    misfit('damaged', () => bytes().subarray(0, 20_000), /cannot be loaded: |crashed with /),
  ];
}

function machO(): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.writeUInt32LE(0xfeedfacf, 0);
  bytes.writeUInt32LE(0x0100000c, 4);
  return bytes;
}

/**
 * Packs a native backend (`npm run pack:platform`, with the binary at `prebuilt`) and everything that it depends on.
 *
 * @returns the tarballs, in the folder `out`
 */
export function packWithDependencies(directory: string, prebuilt: string, out: string): string[] {
  const packed = execFileSync(
    process.execPath,
    [join(directory, 'scripts', 'pack.mjs'), '--out', out, '--prebuilt', prebuilt],
    { encoding: 'utf8' },
  );
  const require = createRequire(import.meta.url);
  const native = dirname(dirname(fileURLToPath(import.meta.url)));
  const core = dirname(dirname(fileURLToPath(import.meta.resolve('@lazy-attention/core'))));
  const headers = ['node-addon-api', 'node-api-headers'].map((name) =>
    dirname(require.resolve(`${name}/package.json`)),
  );
  const dependencies = execFileSync(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--pack-destination', out, native, core, ...headers],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const files = (JSON.parse(dependencies) as { filename: string }[]).map(({ filename }) => join(out, filename));
  return [...packed.trim().split('\n'), ...files];
}

/** Installs tarballs into an empty folder; every registry request would fail, and so would one to an earlier cache. */
export function installOffline(folder: string, tarballs: readonly string[]): void {
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  // Port 9 discards: nothing answers there.
  const env = { ...process.env, npm_config_registry: 'http://127.0.0.1:9/', npm_config_cache: join(folder, '.npm') };
  const options = ['--fetch-retries=0', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
  execFileSync('npm', ['install', ...options, ...tarballs], {
    cwd: folder,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Runs a module in `folder`, without this process's choice of backend and binaries; gives what it printed. */
export function runIn(folder: string, source: string, env: Readonly<Record<string, string>> = {}): string {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('LAZY_ATTENTION_'));
  return execFileSync(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: folder,
    env: { ...Object.fromEntries(inherited), ...env },
    encoding: 'utf8',
  });
}
