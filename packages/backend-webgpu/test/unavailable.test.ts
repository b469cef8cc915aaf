import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { chooseAdapter, type GpuSource, openDevice } from '../src/device/adapter.ts';
import { createProvider } from '../src/provider.ts';
import { browserSource } from '../src/source.browser.ts';
import { explainVulkan } from '../src/vulkan.ts';

const run = promisify(execFile);
const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface Said {
  readonly name: string;
  readonly code: string;
  readonly reason: string;
  readonly fix: string;
}

/** What creating the built backend ends with in a fresh Node. */
async function creating(environment: Record<string, string>, dist = join(root, 'dist')): Promise<Said> {
  const script = `
    import { provider } from ${JSON.stringify(join(dist, 'index.js'))};
    const { name, code, reason, fix } = await provider.create({}).catch((error) => error);
    console.log(JSON.stringify({ name, code, reason, fix }));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...environment },
    timeout: 60_000,
  });
  return JSON.parse(stdout);
}

function temporary(): string {
  const path = mkdtempSync(join(tmpdir(), 'webgpu-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const typed = { name: 'BackendUnavailableError', code: 'BACKEND_UNAVAILABLE' };

describe('in Node', () => {
  /** The package as it is installed, with core, and without Dawn. */
  function installedAlone(): { dist: string; modules: string } {
    const modules = join(temporary(), 'node_modules');
    const home = join(modules, '@lazy-attention/backend-webgpu');
    mkdirSync(home, { recursive: true });
    cpSync(join(root, 'dist'), join(home, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(home, 'package.json'));
    const core = dirname(dirname(createRequire(import.meta.url).resolve('@lazy-attention/core')));
    symlinkSync(core, join(modules, '@lazy-attention/core'));
    return { dist: join(home, 'dist'), modules };
  }

  test('without the package webgpu the command that installs it is given', async () => {
    const said = await creating({}, installedAlone().dist);
    expect(said).toMatchObject({ ...typed, fix: 'npm install webgpu' });
    expect(said.reason).toBe("the npm package 'webgpu' (Dawn) is not installed");
  });

  test('a package webgpu that does not load is not called missing', async () => {
    const { dist, modules } = installedAlone();
    mkdirSync(join(modules, 'webgpu'));
    writeFileSync(
      join(modules, 'webgpu/package.json'),
      '{ "name": "webgpu", "type": "module", "exports": "./index.js" }',
    );
    writeFileSync(join(modules, 'webgpu/index.js'), "throw new Error('dawn.node: invalid ELF header');");
    const said = await creating({}, dist);
    expect(said).toMatchObject(typed);
    expect(said.reason).toBe("the npm package 'webgpu' (Dawn) does not load: dawn.node: invalid ELF header");
    expect(said.fix).toContain(`${process.platform}-${process.arch}`);
  });

  describe.skipIf(process.platform !== 'linux')('on Linux', () => {
    test('drivers named in VK_DRIVER_FILES that are not there', async () => {
      const said = await creating({ VK_DRIVER_FILES: '/nowhere/absent_icd.json' });
      expect(said).toMatchObject(typed);
      expect(said.reason).toBe(
        'Dawn found no adapter: VK_DRIVER_FILES names /nowhere/absent_icd.json, which cannot be read',
      );
      expect(said.fix).toMatch(/^unset VK_DRIVER_FILES.*mesa-vulkan-drivers/);
    });

    test('a driver that does not load is named with the version of its interface', async () => {
      const file = join(temporary(), 'broken_icd.json');
      const ICD = { library_path: '/nowhere/libvulkan_broken.so', api_version: '1.1.230' };
      writeFileSync(file, JSON.stringify({ file_format_version: '1.0.0', ICD }));
      const said = await creating({ VK_DRIVER_FILES: file });
      expect(said).toMatchObject(typed);
      expect(said.reason).toContain(`${file} (Vulkan 1.1.230)`);
      expect(said.fix).toMatch(/libvulkan1.*Mesa 23 or newer/);
    });

    test('no driver at all', async () => {
      const { reason, fix } = await explainVulkan({ VK_DRIVER_FILES: '' });
      expect(reason).toBe('Dawn found no adapter: no Vulkan driver is registered in VK_DRIVER_FILES');
      expect(fix).toContain('install the Vulkan driver of your GPU');
    });
  });
});

describe('in a browser', () => {
  test.each([
    [{ isSecureContext: false }, 'not a secure context', /https/],
    [{ isSecureContext: true }, 'no WebGPU (navigator.gpu)', /enable-unsafe-webgpu/],
  ])('a page with %j and no navigator.gpu', async (globals, reason, fix) => {
    for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
    vi.stubGlobal('navigator', {});
    onTestFinished(() => void vi.unstubAllGlobals());
    const error = await createProvider(browserSource)
      .create({})
      .catch((each) => each);
    expect(error).toMatchObject(typed);
    expect(error.reason).toContain(reason);
    expect(error.fix).toMatch(fix);
  });

  test('a blocked GPU', async () => {
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } });
    onTestFinished(() => void vi.unstubAllGlobals());
    const result = await createProvider(browserSource).probe();
    expect(result).toMatchObject({ available: false, reason: expect.stringContaining('no WebGPU adapter') });
    expect(result.fix).toContain('chrome://gpu');
  });
});

describe('adapters', () => {
  const LIMITS = {
    maxStorageBuffersPerShaderStage: 8,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupStorageSize: 16384,
    maxBufferSize: 2 ** 28,
    maxStorageBufferBindingSize: 2 ** 27,
  };

  interface Fake {
    readonly description: string;
    readonly isFallbackAdapter?: boolean;
    readonly limits?: Partial<typeof LIMITS>;
    readonly requestDevice?: () => Promise<GPUDevice>;
  }

  function fakeAdapter({ description, isFallbackAdapter = false, limits, requestDevice }: Fake): GPUAdapter {
    return {
      info: { vendor: '', architecture: '', device: '', description, isFallbackAdapter },
      features: new Set(),
      limits: { ...LIMITS, ...limits },
      requestDevice,
    } as unknown as GPUAdapter;
  }

  /** A machine that offers these adapters for high performance, for low power and as the fallback. */
  function machine(performance: Fake | null, low = performance, fallback = performance): GpuSource {
    const gpu = {
      requestAdapter: async ({ powerPreference, forceFallbackAdapter }: GPURequestAdapterOptions) => {
        const fake = forceFallbackAdapter ? fallback : powerPreference === 'low-power' ? low : performance;
        return fake && fakeAdapter(fake);
      },
    } as unknown as GPU;
    return {
      requested: undefined,
      open: async () => gpu,
      openNamed: async () => null,
      explainMissing: async () => ({ reason: 'nothing here', fix: 'buy something' }),
    };
  }

  const card = { description: 'NVIDIA H200: 580.65' };
  const small = { description: 'Intel(R) UHD Graphics 630 (CFL GT2)' };
  const llvmpipe = { description: 'llvmpipe: Mesa 25.0.7 (LLVM 15.0.6)' };

  test.each([
    ['NVIDIA H200: 580.65', false],
    ['AMD Radeon 780M (RADV PHOENIX)', false],
    ['Apple M3', false],
    ['llvmpipe: Mesa 25.0.7 (LLVM 15.0.6)', true],
    ['SwiftShader Device (Subzero)', true],
    ['Microsoft Basic Render Driver', true],
  ])('%s is software: %s', async (description, software) => {
    const choice = await chooseAdapter(machine({ description }), undefined);
    expect(choice).toMatchObject({ name: description, software });
  });

  test('what calls itself a fallback is software, whatever its name', async () => {
    const choice = await chooseAdapter(machine({ description: 'mystery', isFallbackAdapter: true }), undefined);
    expect(choice.software).toBe(true);
  });

  test.each([
    [undefined, [card, small, llvmpipe], card],
    [undefined, [llvmpipe, small, llvmpipe], small],
    [undefined, [llvmpipe, llvmpipe, llvmpipe], llvmpipe],
    ['hardware', [card, card, llvmpipe], card],
    ['software', [card, small, llvmpipe], llvmpipe],
    ['uhd graphics', [card, small, llvmpipe], small],
  ] as const)('%s takes hardware first, or what was asked for', async (wanted, [a, b, c], expected) => {
    expect((await chooseAdapter(machine(a, b, c), wanted)).name).toBe(expected.description);
  });

  test('hardware where there is only software lists what there is', async () => {
    const error = await chooseAdapter(machine(llvmpipe), 'hardware').catch((each) => each);
    expect(error).toMatchObject(typed);
    expect(error.reason).toBe(`no adapter matches 'hardware'; found '${llvmpipe.description}' (software)`);
    expect(error.fix).toContain('LAZY_ATTENTION_WEBGPU_ADAPTER');
  });

  test('no adapter gives the reason and the fix that the environment knows', async () => {
    const error = await chooseAdapter(machine(null), undefined).catch((each) => each);
    expect(error).toMatchObject({ ...typed, reason: 'nothing here', fix: 'buy something' });
  });

  test.each([
    ['maxStorageBuffersPerShaderStage', 4, 8],
    ['maxComputeInvocationsPerWorkgroup', 128, 256],
    ['maxComputeWorkgroupSizeX', 128, 256],
    ['maxComputeWorkgroupStorageSize', 8192, 16384],
  ])('an adapter with %s %i is refused with what is needed', async (limit, has, needs) => {
    const choice = await chooseAdapter(machine({ ...card, limits: { [limit]: has } }), undefined);
    const error = await openDevice(choice).catch((each) => each);
    expect(error).toMatchObject(typed);
    expect(error.reason).toBe(`adapter '${card.description}' has ${limit} ${has}; the kernels need ${needs}`);
  });

  test('an adapter that gives no device passes on what the driver says', async () => {
    const requestDevice = async () => {
      throw new Error('vkCreateDevice failed with VK_ERROR_INITIALIZATION_FAILED');
    };
    const error = await createProvider(machine({ ...card, requestDevice }))
      .create({})
      .catch((each) => each);
    expect(error).toMatchObject(typed);
    expect(error.reason).toBe(
      `adapter '${card.description}' gave no device: vkCreateDevice failed with VK_ERROR_INITIALIZATION_FAILED`,
    );
    expect(error.fix).toContain('update the graphics driver');
  });
});
