// npm run test:asan [-- files]: every test of the package, and those of the command that reach it from files and requests, on a build with
// AddressSanitizer and UndefinedBehaviorSanitizer.
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
const env = {
  ...process.env,
  LD_PRELOAD: library,
  LAZY_ATTENTION_CPU_ADDON: join(output, 'lazy_cpu.node'),
  // Tests that limit the address space, of which the sanitizer takes terabytes, say that they are skipped.
  LAZY_ATTENTION_SANITIZED: '1',
  LAZY_ATTENTION_TEST_BACKEND: 'cpu',
  // Node's own leaks at exit are not ours to report; everything else ends the process.
  ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=8:allocator_may_return_null=1:detect_odr_violation=0',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
};
const test = (root, ...what) => {
  const args = [vitest, 'run', '--root', root, '--testTimeout=900000', '--hookTimeout=900000', ...what];
  return spawnSync(process.execPath, args, { stdio: 'inherit', env }).status ?? 1;
};

const given = process.argv.slice(2);
const status = test(directory, ...given);
// What comes from files and requests into the command, on this build: `compare --resume`, the live page.
const fromOutside = ['-t', 'deletes nothing|is rendered once|answers this machine alone'];
const command = join(directory, '..', '..', 'apps', 'train');
const outside = given.length > 0 ? 0 : test(command, 'test/compare.test.ts', 'test/live.test.ts', ...fromOutside);
process.exit(status || outside);
