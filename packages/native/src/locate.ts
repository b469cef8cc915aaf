import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackendUnavailableError } from '@lazy-attention/core';
import { currentTarget, inspectBinary, type Target, targetName } from './binary.ts';
import { requireFrom } from './load.ts';

/** Where a backend's binary is looked for. */
export interface AddonPlace {
  /** Short name of the backend: 'cpu'. */
  readonly name: string;
  /** '@lazy-attention/backend-cpu', which is the default for 'cpu'; the per-platform packages are called '<packageName>-<target>'. */
  readonly packageName: string;
  /** Version of that package. */
  readonly version: string;
  /** Its folder. */
  readonly directory: string;
  /** 'lazy_cpu.node' */
  readonly file: string;
  /** The npm script of the package that builds the binary from source, and what that needs. */
  readonly build: { readonly script: string; readonly needs: string };
}

/**
 * The place of a backend whose package.json is in `directory`.
 * @throws BackendUnavailableError where it is not there, as in a bundle, which leaves the binary behind
 */
export function addonPlace(
  backend: Pick<AddonPlace, 'name' | 'directory' | 'file'> & Partial<Pick<AddonPlace, 'packageName' | 'build'>>,
): AddonPlace {
  const {
    name,
    directory,
    file,
    packageName = `@lazy-attention/backend-${name}`,
    build = { script: 'build:native', needs: 'CMake 3.18 and a C++17 compiler' },
  } = backend;
  return { name, packageName, version: versionOf(name, packageName, directory), directory, file, build };
}

function versionOf(name: string, packageName: string, directory: string): string {
  const path = join(directory, 'package.json');
  const found = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  if (found.name === packageName) return found.version;
  throw new BackendUnavailableError(
    name,
    `its code is not in its package (${path} is not there, or another package's), so its binary cannot be found; a bundler moved it`,
    `mark the package as external in the bundler: external: ['${packageName}']`,
  );
}

/** Where a binary was found, or why there is none. */
export type Located =
  | {
      /** Of the binary. */
      readonly path: string;
    }
  | {
      /** There is none that could be loaded. */
      readonly path: null;
      /** What was looked for, or what is wrong with what was found. */
      readonly reason: string;
      /** The command or step that would help. */
      readonly fix: string;
    };

/**
 * The binary to load: the one that an environment variable names (LAZY_ATTENTION_CPU_ADDON for 'cpu'), else a source
 * build, else the per-platform package. The first that exists is taken, and refused when it is for another machine.
 */
export function locateAddon(place: AddonPlace, target: Target = currentTarget()): Located {
  const override = process.env[`LAZY_ATTENTION_${place.name.toUpperCase()}_ADDON`];
  if (override !== undefined && override !== '') return checked(override, place, target);
  const build = join(place.directory, 'build', targetName(target), place.file);
  const platformPackage = `${place.packageName}-${targetName(target)}`;
  const path = existsSync(build) ? build : resolvePackaged(place, platformPackage);
  if (path !== null) return checked(path, place, target);
  return {
    path: null,
    reason: `there is no binary for ${targetName(target)}: looked for ${build} and for package '${platformPackage}'`,
    fix: buildCommand(place),
  };
}

/** Builds the binary from source. */
export function buildCommand({ directory, build }: AddonPlace): string {
  return `npm run ${build.script} --prefix "${directory}"   (needs ${build.needs})`;
}

function resolvePackaged(place: AddonPlace, platformPackage: string): string | null {
  try {
    return requireFrom(join(place.directory, 'package.json')).resolve(`${platformPackage}/${place.file}`);
  } catch {
    return null;
  }
}

function checked(path: string, place: AddonPlace, target: Target): Located {
  const wrong = (reason: string): Located => ({ path: null, reason: `${path} ${reason}`, fix: buildCommand(place) });
  if (!existsSync(path)) return wrong('does not exist');
  const binary = inspectBinary(path);
  if (binary === null) return wrong('is not a shared library');
  if (binary.platform !== target.platform) {
    return wrong(`is for platform ${binary.platform}; this is ${target.platform}`);
  }
  if (binary.arch !== '' && binary.arch !== target.arch) {
    return wrong(`is for architecture ${binary.arch}; this Node is ${target.arch}`);
  }
  if (binary.libc !== '' && binary.libc !== target.libc) {
    return wrong(`is for C library ${binary.libc}; this system has ${target.libc}`);
  }
  return { path };
}
