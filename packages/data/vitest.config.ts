import { defineConfig } from 'vitest/config';

// Machines that run several suites at once are slow by chance.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 60_000 } });
