import { defineConfig } from 'vitest/config';

// One file at a time: they share a GPU, or two cores that play one.
export default defineConfig({ test: { fileParallelism: false, testTimeout: 120_000, hookTimeout: 120_000 } });
