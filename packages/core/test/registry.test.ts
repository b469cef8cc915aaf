import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  BackendUnavailableError,
  CANDIDATES,
  createBackend,
  probeBackends,
  registerBackend,
  ValueError,
} from '../src/index.ts';
import { stub } from './stub.ts';

/** Registered backends hide the installed packages of their name, so these tests do not depend on the machine. */
function pretend(available: Record<string, boolean | 'software' | 'broken'>): void {
  for (const name of new Set(CANDIDATES.map((candidate) => candidate.name))) {
    const state = available[name] ?? false;
    registerBackend({
      name,
      probe: async () => ({
        available: state !== false,
        device: 'd',
        reason: state === false ? 'not here' : 'fine',
        ...(name === 'webgpu' ? { software: state === 'software' } : {}),
      }),
      create: async (options) => {
        if (state === false) throw new BackendUnavailableError(name, 'not here', 'get one');
        if (state === 'broken') throw new Error('boom');
        for (const key of Object.keys(options)) throw new ValueError(`create: unknown option '${key}'`);
        return (stub(name).backend as unknown as { kernels: never }).kernels;
      },
    });
  }
}

afterEach(() => vi.unstubAllEnvs());

describe('createBackend', () => {
  it.each([
    [{ cuda: true, webgpu: true, cpu: true }, 'cuda'],
    [{ webgpu: true, cpu: true }, 'webgpu'],
    [{ webgpu: 'software', cpu: true }, 'cpu'],
    [{ webgpu: 'software', tfjs: true, reference: true }, 'tfjs'],
    [{ webgpu: 'software', reference: true }, 'webgpu'],
    [{ cuda: 'broken', cpu: true }, 'cpu'],
    [{ reference: true }, 'reference'],
  ] as const)('auto with %o takes %s', async (available, expected) => {
    pretend(available);
    expect((await createBackend('auto')).name).toBe(expected);
  });

  it('says of every candidate why auto found none', async () => {
    pretend({ cuda: 'broken' });
    await expect(createBackend()).rejects.toThrow(/cuda: boom\n {2}webgpu: not here\n {2}cpu: not here/);
  });

  it('advises what would mend the best backend for this machine', async () => {
    pretend({});
    for (const name of ['cuda', 'webgpu', 'cpu', 'reference']) {
      const result = { available: false, device: '', reason: 'not here', fix: `mend ${name}` };
      registerBackend({ name, probe: async () => result, create: () => Promise.reject(new Error('not here')) });
    }
    const error = await createBackend().catch((thrown: BackendUnavailableError) => thrown);
    expect((error as BackendUnavailableError).fix).toMatch(/^mend (cpu|cuda)$/);
  });

  it('auto does not start what plainly has no hardware, but for want of anything else', async () => {
    pretend({ cpu: true });
    const probe = vi.fn(async () => ({ available: true, device: 'd', reason: 'fine', software: true }));
    const create = async () => (stub('webgpu').backend as unknown as { kernels: never }).kernels;
    registerBackend({ name: 'webgpu', hasHardware: () => false, probe, create });
    expect((await createBackend()).name).toBe('cpu');
    expect(probe).not.toHaveBeenCalled();
    pretend({});
    registerBackend({ name: 'webgpu', hasHardware: () => false, probe, create });
    expect((await createBackend()).name).toBe('webgpu');
  });

  it('never turns a named backend into another', async () => {
    pretend({ cpu: true });
    await expect(createBackend('cuda')).rejects.toThrow(BackendUnavailableError);
    await expect(createBackend('cuda')).rejects.toThrow(/'cuda' is not available: not here\n {2}fix: get one/);
  });

  it('obeys LAZY_ATTENTION_BACKEND for auto only, without falling back', async () => {
    pretend({ cpu: true, reference: true });
    vi.stubEnv('LAZY_ATTENTION_BACKEND', 'reference');
    expect((await createBackend('auto')).name).toBe('reference');
    expect((await createBackend('cpu')).name).toBe('cpu');
    vi.stubEnv('LAZY_ATTENTION_BACKEND', 'cuda');
    await expect(createBackend('auto')).rejects.toThrow(BackendUnavailableError);
  });

  it.each(['nope', '../x', '@lazy-attention/backend-none'])('refuses the unknown name %s', async (name) => {
    await expect(createBackend(name)).rejects.toThrow(BackendUnavailableError);
    await expect(createBackend(name)).rejects.toThrow(
      /no backend and no installed npm package has this name; known: auto, cuda/,
    );
  });

  it('refuses a package that is no backend', async () => {
    await expect(createBackend('vitest')).rejects.toThrow(/not a lazy-attention backend|cannot be loaded/);
  });

  it('refuses options for auto, and backends refuse those they do not know', async () => {
    pretend({ cpu: true });
    await expect(createBackend('auto', { threads: 2 })).rejects.toThrow(ValueError);
    await expect(createBackend('cpu', { colour: 2 })).rejects.toThrow(ValueError);
    await expect(createBackend('')).rejects.toThrow(ValueError);
  });
});

describe('probeBackends', () => {
  it('lists every candidate once with its reason', async () => {
    pretend({ cpu: true });
    const reports = await probeBackends();
    expect(reports.map((report) => report.name)).toEqual(['cuda', 'webgpu', 'cpu', 'tfjs', 'reference']);
    expect(reports[0]).toMatchObject({ available: false, reason: 'not here' });
    expect(reports[2]).toMatchObject({ available: true });
  });
});
