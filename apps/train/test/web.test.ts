import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as core from '@lazy-attention/core';
import * as nn from '@lazy-attention/nn';
import { expect, it } from 'vitest';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Without the global `process`, as in a page. */
const PAGE = `
const { log } = console;
globalThis.process = undefined;
const all = await import('${new URL('../web/lazy-attention.js', import.meta.url).href}');
const { reason } = await all.createBackend('webgpu').catch(({ message }) => ({ reason: message }));
log(JSON.stringify({ names: Object.keys(all), reason, parameters: all.parameterCount(all.preset('pico')) }));
`;

it('the file for CDNs has all of core and nn, and WebGPU, which it registers', () => {
  execFileSync(process.execPath, [at('../scripts/take-web.mjs')]);
  const text = readFileSync(at('../web/lazy-attention.js'), 'utf8');
  expect(text).not.toMatch(/(from|import\(?)\s*["'](node:|@lazy)/);
  expect(gzipSync(text).length).toBeLessThan(120_000);
  const said = execFileSync(process.execPath, ['--input-type=module', '--eval', PAGE], { encoding: 'utf8' });
  const { names, reason, parameters } = JSON.parse(said) as { names: string[]; reason: string; parameters: number };
  // A name that two packages give to different things would be missing.
  const all = new Set([...Object.keys(core), ...Object.keys(nn), 'DeviceValidationError', 'webgpu']);
  expect(names.sort()).toEqual([...all].sort());
  expect(reason).toMatch(/navigator\.gpu|WebGPU/);
  expect(parameters).toBe(nn.parameterCount(nn.preset('pico')));
});
