import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { BUNDLERS } from './bundlers.mjs';

/** Entries that a page imports. */
export const FOR_PAGES = [
  'core',
  'nn',
  'data',
  'models',
  'analysis',
  'evaluation',
  'backend-reference',
  'backend-webgpu',
  'backend-tfjs',
  'backend-tfjs/layers',
];

/** core, nn and a backend in one bundle, used: a model is made on it. */
const USED = `
import { createBackend, registerBackend } from '@lazy-attention/core';
import { provider } from '@lazy-attention/backend-reference';
import { adamW, lazyTransformer, valueAndGrad } from '@lazy-attention/nn';
registerBackend(provider);
const backend = await createBackend('reference');
const size = { vocabSize: 16, hiddenSize: 16, intermediateSize: 32, numLayers: 1, numHeads: 2, window: 8, context: 8 };
const model = lazyTransformer(size);
const params = model.init(backend, 1);
globalThis.lazyResult = { parameters: Object.keys(params).length, loss: typeof model.loss, has: typeof adamW + typeof valueAndGrad };
await backend.dispose();
`;

/** A native backend in a bundle for Node leaves its binary behind, and must say so. */
const NATIVE = `
import { probeBackends, registerBackend } from '@lazy-attention/core';
import { provider } from '@lazy-attention/backend-cpu';
registerBackend(provider);
const { reason, fix } = (await probeBackends()).find(({ name }) => name === 'cpu');
globalThis.lazyResult = { reason, fix };
`;

/** Every bundler with every entry: [{ entry, bundler, ok, bytes, gzip, said }]. `folder`: inside a workspace that has the packages. */
export async function bundleMatrix(folder, { entries = FOR_PAGES, bundlers = Object.keys(BUNDLERS) } = {}) {
  rmSync(folder, { recursive: true, force: true });
  const out = join(folder, 'out');
  mkdirSync(out, { recursive: true });
  const rows = [
    ...entries.map((entry) => ({
      entry,
      source: `import * as all from '@lazy-attention/${entry}';\nglobalThis.lazyResult = Object.keys(all).length;\n`,
      fits: (result) => result > 0,
    })),
    { entry: 'core + nn + reference, used', source: USED, fits: ({ parameters }) => parameters > 5 },
    {
      entry: 'backend-cpu, for Node',
      source: NATIVE,
      forNode: true,
      // webpack writes the package's own path into the bundle: there the binary is found as long as the package is.
      fits: ({ reason, fix }) => /mark the package as external/.test(fix) || /^native kernels/.test(reason),
    },
  ];
  const cells = [];
  for (const { entry, source, fits, forNode = false } of rows) {
    const name = entry.replaceAll(/\W+/g, '-');
    const input = join(folder, `${name}.mjs`);
    writeFileSync(input, source);
    for (const bundler of bundlers) {
      const file = join(out, `${name}-${bundler}.mjs`);
      cells.push({ entry, bundler, ...(await cell(BUNDLERS[bundler], input, file, forNode, fits)) });
    }
  }
  return cells;
}

async function cell(bundle, input, file, forNode, fits) {
  try {
    const warnings = await bundle(input, file, forNode);
    const text = readFileSync(file, 'utf8');
    const modules = forNode ? [] : nodeModules(text);
    if (modules.length > 0) return { ok: false, said: `imports ${modules.join(', ')}` };
    const result = run(file, forNode);
    if (!fits(result)) return { ok: false, said: `runs, and gives ${JSON.stringify(result)}` };
    const sizes = { bytes: text.length, gzip: gzipSync(text).length };
    return { ok: warnings.length === 0, ...sizes, said: warnings.join('\n').slice(0, 300) };
  } catch (error) {
    return { ok: false, said: String(error.message ?? error).slice(0, 300) };
  }
}

function nodeModules(text) {
  const imports = text.matchAll(/(?:from|import\(?)\s*["'](?:node:)?([\w/]+)["']/g);
  return [...new Set(Array.from(imports, ([, name]) => name).filter((name) => builtinModules.includes(name)))];
}

/** Runs a bundle in a process of its own, for a page without the global `process`; gives what it left in `lazyResult`. */
function run(file, forNode) {
  const page = forNode ? '' : 'globalThis.process = undefined;';
  const source = `const { log } = console; log(''); ${page} await import(${JSON.stringify(pathToFileURL(file).href)}); log(JSON.stringify(globalThis.lazyResult));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', source], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return JSON.parse(output.trim().split('\n').at(-1));
}

/** The cells as a table in Markdown: size of the minified file under gzip, or what is wrong. */
export function asTable(cells) {
  const bundlers = [...new Set(cells.map(({ bundler }) => bundler))];
  const row = (entry) =>
    bundlers.map((name) => {
      const { ok, gzip, said } = cells.find((cell) => cell.entry === entry && cell.bundler === name);
      return ok ? `${(gzip / 1000).toFixed(1)} kB` : `no: ${said.split('\n')[0]}`;
    });
  return [
    `| | ${bundlers.join(' | ')} |`,
    `|---|${bundlers.map(() => '---').join('|')}|`,
    ...[...new Set(cells.map(({ entry }) => entry))].map((entry) => `| ${entry} | ${row(entry).join(' | ')} |`),
  ].join('\n');
}
