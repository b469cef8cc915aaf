export function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined;
}

/**
 * Imports an optional peer, as seen from this package and then from the working directory: with strict package managers
 * this package does not see what the application has installed. Rejects with code ERR_MODULE_NOT_FOUND when missing.
 */
export async function importEngine(packageName: string): Promise<unknown> {
  try {
    return await import(/* @vite-ignore */ packageName);
  } catch (error) {
    if (!isMissing(error, packageName)) throw error;
    const { createRequire } = await import('node:module');
    const { pathToFileURL } = await import('node:url');
    let path: string;
    try {
      path = createRequire(`${process.cwd()}/package.json`).resolve(packageName);
    } catch {
      throw error;
    }
    return import(/* @vite-ignore */ pathToFileURL(path).href);
  }
}

function isMissing(error: unknown, packageName: string): boolean {
  if (!(error instanceof Error)) return false;
  return (error as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(`'${packageName}'`);
}

/**
 * tfjs-node 4.22 calls `util.isNullOrUndefined` and `util.isArray`, which Node 23 removed; without them every op fails
 * with "isNullOrUndefined is not a function". Puts back what is missing, before tfjs-node loads.
 */
export function bridgeRemovedUtilities(util: Record<string, unknown> = nodeUtil()): void {
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  util.isArray ??= Array.isArray;
}

/** The CommonJS object, which is what tfjs-node sees; the ES namespace is frozen. */
function nodeUtil(): Record<string, unknown> {
  return process.getBuiltinModule('node:util') as unknown as Record<string, unknown>;
}
