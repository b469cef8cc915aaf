// npm run test:asan [-- files]: the conformance suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAddon } from '@lazy-attention/native/build';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
const output = buildAddon({
  directory,
  version,
  variant: '-address-undefined',
  defines: { LAZY_SANITIZE: 'address,undefined' },
});
if (output === null) process.exit(1);

// Node itself is not instrumented, so the sanitizer's library has to be there first.
const library = execFileSync(process.env.CXX ?? 'c++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const files = process.argv.length > 2 ? process.argv.slice(2) : ['test/conformance.test.ts', 'test/memory.test.ts'];
const { status } = spawnSync(process.execPath, [vitest, 'run', '--root', directory, '--testTimeout=300000', ...files], {
  stdio: 'inherit',
  env: {
    ...process.env,
    LD_PRELOAD: library,
    LAZY_ATTENTION_CPU_ADDON: join(output, 'lazy_cpu.node'),
    // Node's own leaks at exit are not ours to report; everything else ends the process.
    ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=8:allocator_may_return_null=1:detect_odr_violation=0',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  },
});
process.exit(status ?? 1);
