export function isNode(): boolean {
  return globalThis.process?.versions?.node !== undefined;
}

/**
 * Imports an optional peer, as seen from this package and then from the working directory: with strict package managers
 * this package does not see what the application has installed. False when neither sees it. Only for Node; not an import of
 * node:module, for bundlers that build for a page refuse what a page does not have.
 */
export async function importEngine(packageName: string): Promise<boolean> {
  const { createRequire } = process.getBuiltinModule('node:module');
  const { pathToFileURL } = process.getBuiltinModule('node:url');
  for (const from of [import.meta.url, `${process.cwd()}/package.json`]) {
    let path: string;
    try {
      path = createRequire(from).resolve(packageName);
    } catch {
      continue;
    }
    await import(/* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(path).href);
    return true;
  }
  return false;
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
