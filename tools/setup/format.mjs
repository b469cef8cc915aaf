// npm run format: biome, clang-format on C++ and CUDA, and lines of Markdown.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MARKDOWN, ownFiles, readFiles } from './lib/checks/sources.mjs';
import { tool } from './lib/run.mjs';
import { root } from './lib/workspaces.mjs';
import { wrapProse } from './lib/wrap.mjs';

const code = tool('@biomejs/biome', 'bin/biome', ['check', '--write', '.']);
const paths = ownFiles();
for (const { path, text } of readFiles(paths, MARKDOWN)) {
  const wrapped = wrapProse(text);
  if (wrapped !== text) writeFileSync(join(root, path), wrapped);
}
const cpp = paths.filter((path) => /\.(cpp|h|cu|cuh)$/.test(path));
process.exit(code || tool('clang-format-node', 'build/cli.js', ['-i', ...cpp]));
