// Why Dawn found no Vulkan adapter on this Linux machine, from what it leaves to see: the registered drivers, and which
// libraries it loaded. Dawn itself writes the reason to stderr only.
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';

const FOLDERS = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d'];
const SOFTWARE =
  'for a software adapter install Mesa 23 or newer (Debian 12: apt-get install -t bookworm-backports mesa-vulkan-drivers libvulkan1)';

interface Manifest {
  readonly file: string;
  /** Of the Vulkan interface that the driver was built for; null where the file cannot be read. */
  readonly version: string | null;
}

/** For an error: what is wrong, and what to do. */
export interface Explanation {
  readonly reason: string;
  readonly fix: string;
}

/** The reason and the fix. `environment`: that of the process, where the drivers may be chosen. */
export async function explainVulkan(environment: NodeJS.ProcessEnv): Promise<Explanation> {
  const variable = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'].find((name) => environment[name] !== undefined);
  const files = variable === undefined ? await registered() : (environment[variable] ?? '').split(':').filter(Boolean);
  const manifests = await Promise.all(files.map(readManifest));
  if (manifests.length === 0) {
    return {
      reason: `Dawn found no adapter: no Vulkan driver is registered in ${variable ?? FOLDERS.join(' or ')}`,
      fix: `install the Vulkan driver of your GPU; ${SOFTWARE}`,
    };
  }
  if (variable !== undefined && manifests.every(({ version }) => version === null)) {
    return {
      reason: `Dawn found no adapter: ${variable} names ${files.join(', ')}, which cannot be read`,
      fix: `unset ${variable}, or let it name the manifest of a Vulkan driver that is installed; ${SOFTWARE}`,
    };
  }
  const named = manifests
    .map(({ file, version }) => `${file}${version === null ? '' : ` (Vulkan ${version})`}`)
    .join(', ');
  const loaded = await loadedDrivers();
  if (loaded.length > 0) {
    return {
      reason:
        `Dawn loaded ${loaded.join(', ')} of the Vulkan drivers here and accepts none: there is no such device, or the driver ` +
        `is too old (Mesa 22.3 lacks shaderUniform*ArrayDynamicIndexing, which Dawn needs). Registered: ${named}`,
      fix: `update the graphics driver; ${SOFTWARE}`,
    };
  }
  return {
    reason: `Dawn could load none of the Vulkan drivers here, or libvulkan.so.1 is missing. Registered: ${named}`,
    fix: `install the Vulkan loader (Debian: apt-get install libvulkan1) and the driver of your GPU; ${SOFTWARE}`,
  };
}

async function registered(): Promise<string[]> {
  const files: string[] = [];
  for (const folder of FOLDERS) {
    try {
      files.push(...(await readdir(folder)).filter((name) => name.endsWith('.json')).map((name) => join(folder, name)));
    } catch {
      // A folder that is not there registers nothing.
    }
  }
  return files;
}

async function readManifest(file: string): Promise<Manifest> {
  try {
    const { ICD } = JSON.parse(await readFile(file, 'utf8')) as { ICD?: { api_version?: string } };
    return { file, version: ICD?.api_version ?? 'unknown' };
  } catch {
    return { file, version: null };
  }
}

/** Drivers that the Vulkan loader brought into this process; it lets go of those that do not load. */
async function loadedDrivers(): Promise<string[]> {
  try {
    const maps = await readFile('/proc/self/maps', 'utf8');
    const names = new Set(maps.match(/\/\S*lib(?:GLX_nvidia|vulkan_\w+)\S*\.so\S*/g)?.map((path) => basename(path)));
    return [...names].sort();
  } catch {
    return [];
  }
}
