import type { BackendProvider } from '../contract/provider.ts';
import { BackendUnavailableError } from '../errors.ts';

/**
 * Imports a backend's package by name, as seen from core and then, in Node, from the working directory: with strict
 * package managers core does not see what the application has installed.
 */
export async function loadProvider(name: string, packageName: string): Promise<BackendProvider> {
  const module = await importFrom(name, packageName);
  const provider = (module as { provider?: unknown }).provider;
  if (!isProvider(provider)) {
    throw new BackendUnavailableError(
      name,
      `package '${packageName}' exports no 'provider' with name, probe and create; it is not a lazy-attention backend`,
    );
  }
  return provider;
}

async function importFrom(name: string, packageName: string): Promise<object> {
  try {
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ packageName);
  } catch (error) {
    if (!isMissing(error, packageName)) throw broken(name, packageName, error);
  }
  const resolved = resolveFromWorkingDirectory(packageName);
  if (resolved === null) {
    throw new BackendUnavailableError(name, `package '${packageName}' is not installed`, `npm install ${packageName}`);
  }
  try {
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ resolved);
  } catch (error) {
    throw broken(name, packageName, error);
  }
}

/** Not an import of node:module: bundlers that build for a page refuse what a page does not have. */
function resolveFromWorkingDirectory(packageName: string): string | null {
  const builtin = globalThis.process?.getBuiltinModule;
  if (builtin === undefined) return null;
  const { createRequire } = builtin('node:module');
  const { pathToFileURL } = builtin('node:url');
  try {
    const path = createRequire(`${process.cwd()}/package.json`).resolve(packageName);
    return pathToFileURL(path).href;
  } catch {
    return null;
  }
}

/** Missing itself, as opposed to missing one of its own dependencies. Browsers only have a TypeError to say so; Deno quotes with ". */
function isMissing(error: unknown, packageName: string): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: unknown }).code;
  if (code === undefined) return error instanceof TypeError;
  const named = error.message.includes(`'${packageName}'`) || error.message.includes(`"${packageName}"`);
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && named;
}

function broken(name: string, packageName: string, error: unknown): BackendUnavailableError {
  const message = error instanceof Error ? error.message : String(error);
  return new BackendUnavailableError(name, `package '${packageName}' cannot be loaded: ${message}`, undefined, {
    cause: error,
  });
}

function isProvider(value: unknown): value is BackendProvider {
  if (typeof value !== 'object' || value === null) return false;
  const { name, probe, create } = value as Record<string, unknown>;
  return typeof name === 'string' && typeof probe === 'function' && typeof create === 'function';
}
