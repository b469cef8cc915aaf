// npm run check: format, lint, types, package boundaries, and what npm would publish.

import { wrongArrows } from './lib/boundaries.mjs';
import { prepare } from './lib/prepare.mjs';
import { tool } from './lib/run.mjs';
import { workspaces } from './lib/workspaces.mjs';

// Building is the type check: every package compiles with the strict settings or the build fails.
if (!prepare()) process.exit(1);
const all = workspaces();
const failures = [];

if (tool('@biomejs/biome', 'bin/biome', ['ci', '.']) !== 0) failures.push('biome');

const wrong = wrongArrows(all.map(({ manifest }) => manifest));
for (const sentence of wrong) console.error(sentence);
if (wrong.length > 0) failures.push('boundaries');

for (const { folder, manifest } of all) {
  if (manifest.private) continue;
  if (tool('publint', 'src/cli.js', ['run', folder, '--strict']) !== 0) failures.push(`publint ${folder}`);
}

if (failures.length > 0) {
  console.error(`check failed: ${failures.join(', ')}`);
  process.exit(1);
}
console.log('check passed: format, lint, types, boundaries, publint');
