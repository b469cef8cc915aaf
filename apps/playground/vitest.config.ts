import { defineConfig } from 'vitest/config';

// One file at a time: each has a browser whose GPU is the CPU.
export default defineConfig({ test: { testTimeout: 300_000, hookTimeout: 120_000, fileParallelism: false } });
