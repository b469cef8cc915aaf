import { defineConfig } from 'vitest/config';

// Generous, so that a busy machine is no failure: a timing is never a test.
export default defineConfig({ test: { testTimeout: 60_000 } });
