import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { currentTarget, targetName } from '@lazy-attention/native';
import { runIn } from '@lazy-attention/native/testing';
import { afterAll, describe, expect, test } from 'vitest';

const directory = join(import.meta.dirname, '..');
const build = join(directory, 'build', `${targetName(currentTarget())}-emulated`);
const addon = join(build, 'lazy_cuda_fake.node');
const library = join(build, 'libfake_cublaslt.so');
const folder = mkdtempSync(join(tmpdir(), 'lazy-cublaslt-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Outcome {
  device?: string;
  values?: number[];
  launches?: Record<string, number>;
  warnings: string[];
  error?: { name: string; message: string };
}

/**
 * Four products of the made-up GPU, in a process of their own: plain, transposed, in a batch, and the first again, added to
 * itself; and what was said meanwhile.
 */
function multiply(options: object, env: Record<string, string>): Outcome {
  const source = `
    import { Backend } from '@lazy-attention/core';
    import { provider } from '@lazy-attention/backend-cuda';
    const out = { warnings: [] };
    process.on('warning', ({ name, message }) => name === 'LazyAttentionWarning' && out.warnings.push(message));
    try {
      const backend = new Backend(await provider.create(${JSON.stringify(options)}));
      out.device = backend.device;
      const a = backend.tensor(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
      const b = backend.tensor(Float32Array.of(1, 0, 2, 1, 0, 3), [3, 2]);
      const products = [
        backend.matmul(a, b),
        backend.matmul(a, a, { transposeA: true }),
        backend.matmul(backend.reshape(a, [2, 1, 3]), backend.reshape(b, [2, 1, 3]), { transposeB: true }),
        backend.matmul(a, b),
      ];
      out.values = (await Promise.all(products.map((x) => x.data()))).flatMap((data) => [...data]);
      out.launches = backend.launches();
      await backend.dispose();
    } catch ({ name, message }) {
      out.error = { name, message };
    }
    await new Promise((resolve) => setImmediate(resolve));
    console.log(JSON.stringify(out));`;
  return JSON.parse(
    runIn(directory, source, {
      LAZY_ATTENTION_CUDA_ADDON: addon,
      LAZY_ATTENTION_CUBLASLT: '',
      LAZY_FAKE_GPU: '',
      ...env,
    }),
  );
}

const RIGHT = [...[5, 11, 14, 23], ...[17, 22, 27, 22, 29, 36, 27, 36, 45], ...[7, 22], ...[5, 11, 14, 23]];

const made = existsSync(addon) && existsSync(library);

describe.skipIf(!made)(
  `matrix products${made ? '' : ': no C++ compiler made the addon and the library'}`,
  { timeout: 120_000 },
  () => {
    test('cuBLASLt multiplies where it is found, and it is said', () => {
      const { device, values, launches, warnings } = multiply({ cublas: 'auto' }, { LAZY_ATTENTION_CUBLASLT: library });
      expect(device).toMatch(/fake GPU.*, cuBLASLt 13\.1$/);
      expect(values).toEqual(RIGHT);
      expect(launches).toMatchObject({ 'matmul cublasLt': 4, 'matmul own': 0 });
      expect(warnings).toEqual([]);
    });

    test('off: own products, without a word', () => {
      const { device, values, launches, warnings } = multiply({ cublas: 'off' }, { LAZY_ATTENTION_CUBLASLT: library });
      expect(device).toMatch(/own matrix products$/);
      expect(values).toEqual(RIGHT);
      expect(launches).toMatchObject({ 'matmul cublasLt': 0, 'matmul own': 4 });
      expect(warnings).toEqual([]);
    });

    const FAILURES = {
      'no algorithm': ['algorithms=0', /f32 \[1, 2, 3\] by \[1, 3, 2\]: it has no algorithm/],
      'a call that fails': ['matmul=13', /f32 \[1, 2, 3\] by \[1, 3, 2\]: cublasLtMatmul failed with cuBLAS status 13/],
    } as const;

    for (const [name, [setting, why]] of Object.entries(FAILURES)) {
      const env = { LAZY_ATTENTION_CUBLASLT: library, LAZY_FAKE_CUBLASLT: setting };

      test(`${name}: own products, said once`, () => {
        const { values, launches, warnings } = multiply({ cublas: 'auto' }, env);
        expect(values).toEqual(RIGHT);
        expect(launches).toMatchObject({ 'matmul cublasLt': 0, 'matmul own': 4 });
        expect(warnings.length).toBe(1);
        expect(warnings[0]).toMatch(/^cuda: cuBLASLt 13\.1 did not compute /);
        expect(warnings[0]).toMatch(why);
      });

      test(`${name}: an error where cuBLASLt is required`, () => {
        const { error, warnings } = multiply({ cublas: 'required' }, env);
        expect(error).toMatchObject({ name: 'UnsupportedError' });
        expect(error?.message).toMatch(why);
        expect(error?.message).toMatch(/Option cublas 'auto'/);
        expect(warnings).toEqual([]);
      });
    }

    test('absent: said once, with where it was looked for', () => {
      const nowhere = join(folder, 'nowhere.so');
      const { values, warnings } = multiply({ cublas: 'auto' }, { LAZY_ATTENTION_CUBLASLT: nowhere });
      expect(values).toEqual(RIGHT);
      expect(warnings.length).toBe(1);
      expect(warnings[0]).toContain(
        `matrix products go by our own kernels, because cuBLASLt cannot be loaded: ${nowhere}: `,
      );
      expect(warnings[0]).toMatch(/install NVIDIA's cuBLAS .*set option cublas \(LAZY_ATTENTION_CUBLAS\) to 'off'/);
    });

    test('a library that does not start is passed over: the next is tried', () => {
      const [sitePackages, environment] = [join(folder, 'modules'), join(folder, 'environment')];
      // Newer than any that this machine may have.
      place(join(sitePackages, 'nvidia', 'cu13', 'lib', 'libcublasLt.so.97'));
      place(join(environment, 'lib', 'python3.12', 'site-packages', 'nvidia', 'cublas', 'lib', 'libcublasLt.so.98'));
      const env = { PYTHONPATH: sitePackages, VIRTUAL_ENV: environment };
      expect(multiply({ cublas: 'required' }, env).device).toMatch(/cuBLASLt 98\.1$/);
      rmSync(environment, { recursive: true });
      expect(multiply({ cublas: 'required' }, env).device).toMatch(/cuBLASLt 97\.1$/);
      mkdirSync(join(environment, 'bin'), { recursive: true });
      const beside = { PATH: `${join(environment, 'bin')}:${process.env.PATH}` };
      place(join(environment, 'lib', 'python3.9', 'dist-packages', 'nvidia', 'cu12', 'lib', 'libcublasLt.so.96'));
      expect(multiply({ cublas: 'required' }, beside).device).toMatch(/cuBLASLt 96\.1$/);
      const { error } = multiply({ cublas: 'required' }, { ...env, LAZY_FAKE_CUBLASLT: 'create=1' });
      expect(error).toMatchObject({ name: 'BackendUnavailableError' });
      expect(error?.message).toMatch(/libcublasLt\.so\.97: cublasLtCreate failed with cuBLAS status 1/);
    });
  },
);

function place(file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  copyFileSync(library, file);
}
