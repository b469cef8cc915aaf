// npm run format: biome, and clang-format on C++ and CUDA.
import { ownFiles } from './lib/checks/sources.mjs';
import { tool } from './lib/run.mjs';

const code = tool('@biomejs/biome', 'bin/biome', ['check', '--write', '.']);
const cpp = ownFiles().filter((path) => /\.(cpp|h|cu|cuh)$/.test(path));
process.exit(code || tool('clang-format-node', 'build/cli.js', ['-i', ...cpp]));
