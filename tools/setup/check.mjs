// npm run check: format, lint, types (of tests too), package boundaries, the sources' own rules, documented exports, and what
// npm would publish.

import { join } from 'node:path';
import { staleRules, wrongArrows } from './lib/boundaries.mjs';
import { sourceChecks } from './lib/checks/index.mjs';
import { prepare } from './lib/prepare.mjs';
import { run, tool } from './lib/run.mjs';
import { root, workspaces } from './lib/workspaces.mjs';

// Building is the type check: every package compiles with the strict settings or the build fails.
if (!prepare()) process.exit(1);
const all = workspaces();
const failures = [];

if (tool('@biomejs/biome', 'bin/biome', ['ci', '.']) !== 0) failures.push('biome');

// Tests are in no package's build; they import the built packages and their own sources.
if (tool('typescript', 'bin/tsc', ['-p', 'tsconfig.tests.json']) !== 0) failures.push('types of the tests');

const manifests = all.map(({ manifest }) => manifest);
const found = { boundaries: [...wrongArrows(manifests), ...staleRules(manifests)], ...sourceChecks() };
for (const [name, sentences] of Object.entries(found)) {
  for (const sentence of sentences) console.error(sentence);
  if (sentences.length > 0) failures.push(name);
}

if (run(process.execPath, [join(root, 'tools/api-docs/check.mjs')]) !== 0) failures.push('undocumented exports');

// Made when the package is packed, and named in its manifest.
if (run(process.execPath, [join(root, 'apps/train/scripts/take-web.mjs')]) !== 0) failures.push('the file for a CDN');

for (const { folder, manifest } of all) {
  if (manifest.private) continue;
  if (tool('publint', 'src/cli.js', ['run', folder, '--strict']) !== 0) failures.push(`publint ${folder}`);
}

if (failures.length > 0) {
  console.error(`check failed: ${failures.join(', ')}`);
  process.exit(1);
}
console.log('check passed: format, lint, types (of tests too), boundaries, sources, documented exports, publint');
