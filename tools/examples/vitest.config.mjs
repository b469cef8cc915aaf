import { defineConfig } from 'vitest/config';

// Processes rather than threads: the examples write into the working directory, which a thread cannot change.
export default defineConfig({ test: { pool: 'forks', testTimeout: 120_000 } });
