import { defineConfig } from 'vitest/config';

// Most tests start the built command in a process of its own.
export default defineConfig({ test: { testTimeout: 120_000, hookTimeout: 120_000 } });
