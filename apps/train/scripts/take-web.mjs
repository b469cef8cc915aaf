// Before the package is packed: core, nn and the WebGPU backend go into it as one file, for a page that takes it from a CDN.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The backend is registered, for a page cannot look packages up by name. */
const ENTRY = `
import { registerBackend } from '@lazy-attention/core';
import { provider } from '@lazy-attention/backend-webgpu';
registerBackend(provider);
export * from '@lazy-attention/core';
export * from '@lazy-attention/nn';
export { DeviceValidationError, provider as webgpu } from '@lazy-attention/backend-webgpu';
`;

const {
  outputFiles: [file],
} = await build({
  stdin: { contents: ENTRY, resolveDir: at('..'), sourcefile: 'web.mjs' },
  write: false,
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  legalComments: 'none',
  banner: { js: '/* Lazy Attention, Apache-2.0: see LICENSE. */' },
  logLevel: 'warning',
});

// Whole at once: another packing may be reading it.
mkdirSync(at('../web'), { recursive: true });
const beside = at(`../web/lazy-attention.${process.pid}.tmp`);
writeFileSync(beside, file.contents);
renameSync(beside, at('../web/lazy-attention.js'));
