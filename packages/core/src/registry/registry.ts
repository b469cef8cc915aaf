import { Backend } from '../backend.ts';
import type { BackendProvider, ProbeResult } from '../contract/provider.ts';
import { BackendUnavailableError, LazyAttentionError, ValueError } from '../errors.ts';
import { describe } from '../shape.ts';
import { CANDIDATES, type Candidate } from './candidates.ts';
import { loadProvider } from './load.ts';

/** What `probeBackends` says of one backend. */
export interface BackendReport extends ProbeResult {
  /** As in `createBackend(name)`. */
  readonly name: string;
}

const registered = new Map<string, BackendProvider>();

/**
 * Makes a backend known under its name without a package look-up: for browsers, where nothing can be found by package
 * name at run time, and for backends of one's own. Replaces an earlier one of that name.
 */
export function registerBackend(provider: BackendProvider): void {
  registered.set(provider.name, provider);
}

/**
 * Creates a backend.
 *
 * @param name 'auto' takes the best that works, in the order of `CANDIDATES`, or the one that the environment variable
 *   LAZY_ATTENTION_BACKEND names. Any other name ('cpu', 'cuda', 'webgpu', 'tfjs', 'reference', a registered name or
 *   an npm package) is that backend or an error, never another one.
 * @param options Passed to the backend, which refuses those it does not know. 'auto' takes none.
 * @throws BackendUnavailableError with what was looked for, what was found and the fix.
 */
export async function createBackend(name = 'auto', options: Readonly<Record<string, unknown>> = {}): Promise<Backend> {
  if (typeof name !== 'string' || name === '') {
    throw new ValueError(`createBackend: name is ${describe(name)}; expected 'auto' or the name of a backend`);
  }
  if (name !== 'auto') return createNamed(name, options);
  if (Object.keys(options).length > 0) {
    throw new ValueError(
      `createBackend: options (${Object.keys(options).join(', ')}) need a backend by name; 'auto' takes none`,
    );
  }
  const chosen = globalThis.process?.env?.LAZY_ATTENTION_BACKEND;
  if (chosen !== undefined && chosen !== '' && chosen !== 'auto') return createNamed(chosen, {});
  return createBest();
}

/** Every candidate and registered backend with whether it can run here and why. Never throws. */
export async function probeBackends(): Promise<BackendReport[]> {
  const names = new Set([...CANDIDATES.map((candidate) => candidate.name), ...registered.keys()]);
  const reports: BackendReport[] = [];
  for (const name of names) reports.push({ name, ...(await probe(name)) });
  return reports;
}

async function createNamed(name: string, options: Readonly<Record<string, unknown>>): Promise<Backend> {
  const provider = await findProvider(name);
  return new Backend(await provider.create(options));
}

async function createBest(): Promise<Backend> {
  const reasons: string[] = [];
  const fixes = new Map<string, string>();
  const probes = new Map<string, ProbeResult>();
  const extra = [...registered.keys()].filter((name) => CANDIDATES.every((candidate) => candidate.name !== name));
  const candidates: readonly Candidate[] = [...CANDIDATES, ...extra.map((name) => ({ name, package: name }))];
  for (const { name, adapter } of candidates) {
    if (adapter === 'hardware' && (await plainlyLacksHardware(name))) continue;
    const result = probes.get(name) ?? (await probe(name));
    probes.set(name, result);
    if (!result.available) {
      if (result.fix !== undefined) fixes.set(name, result.fix);
      const reason = `${name}: ${result.reason}`;
      if (!reasons.includes(reason)) reasons.push(reason);
      continue;
    }
    if (adapter !== undefined && adapter !== (result.software ? 'software' : 'hardware')) continue;
    try {
      return await createNamed(name, {});
    } catch (error) {
      reasons.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new BackendUnavailableError(
    'auto',
    `no backend works here\n  ${reasons.join('\n  ')}`,
    CANDIDATES.filter(worthMending)
      .map(({ name }) => fixes.get(name))
      .find((fix) => fix !== undefined) ?? 'npm install @lazy-attention/backend-reference',
  );
}

/** Whether one would want this backend on this machine. */
function worthMending({ advised, driver }: Candidate): boolean {
  const builtin = globalThis.process?.getBuiltinModule;
  if (advised !== 'anywhere' && advised !== (builtin === undefined ? 'browser' : 'node')) return false;
  return driver === undefined || builtin?.('node:fs').existsSync(driver) === true;
}

async function plainlyLacksHardware(name: string): Promise<boolean> {
  try {
    return (await findProvider(name)).hasHardware?.() === false;
  } catch {
    return false; // the probe says why
  }
}

async function probe(name: string): Promise<ProbeResult> {
  try {
    return await (await findProvider(name)).probe();
  } catch (error) {
    if (error instanceof BackendUnavailableError) {
      return {
        available: false,
        device: '',
        reason: error.reason,
        ...(error.fix === undefined ? {} : { fix: error.fix }),
      };
    }
    return { available: false, device: '', reason: error instanceof Error ? error.message : String(error) };
  }
}

async function findProvider(name: string): Promise<BackendProvider> {
  const known = registered.get(name);
  if (known !== undefined) return known;
  const candidate = CANDIDATES.find((entry) => entry.name === name);
  if (candidate !== undefined) return loadProvider(name, candidate.package);
  if (!/^(@[a-z0-9._-]+\/)?[a-z0-9][a-z0-9._-]*$/i.test(name)) throw unknownName(name);
  try {
    return await loadProvider(name, name);
  } catch (error) {
    if (error instanceof LazyAttentionError && error.message.includes('is not installed')) throw unknownName(name);
    throw error;
  }
}

function unknownName(name: string): BackendUnavailableError {
  const names = [...new Set([...CANDIDATES.map((entry) => entry.name), ...registered.keys()])].join(', ');
  return new BackendUnavailableError(
    name,
    `no backend and no installed npm package has this name; known: auto, ${names}`,
  );
}
