import { join } from 'node:path';
import { BackendUnavailableError } from '@lazy-attention/core';
import { describe, expect, it } from 'vitest';
import { addonPlace } from '../src/locate.ts';

const folderOf = (name: string) => join(import.meta.dirname, '../..', name);

describe('the place of an addon', () => {
  it('is of the package that is named, or else of the backend', () => {
    const cpu = addonPlace({ name: 'cpu', directory: folderOf('backend-cpu'), file: 'lazy_cpu.node' });
    expect(cpu.packageName).toBe('@lazy-attention/backend-cpu');
    const packageName = '@lazy-attention/backend-cuda';
    const emulated = { name: 'cuda_emulated', directory: folderOf('backend-cuda'), file: 'lazy_cuda_emulated.node' };
    expect(addonPlace({ ...emulated, packageName })).toMatchObject({ name: 'cuda_emulated', packageName });
  });

  it('is not in another package, and the fix names the right one', () => {
    const packageName = '@lazy-attention/communicator-mpi';
    for (const directory of [folderOf('backend-cpu'), import.meta.dirname]) {
      let error: unknown;
      try {
        addonPlace({ name: 'mpi', directory, packageName, file: 'lazy_mpi.node' });
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(BackendUnavailableError);
      expect((error as BackendUnavailableError).fix).toContain(`external: ['${packageName}']`);
    }
  });
});
