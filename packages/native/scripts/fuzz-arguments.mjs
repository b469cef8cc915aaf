// npm run fuzz:arguments [-- SECONDS]: libFuzzer on what reads JavaScript's arguments, under AddressSanitizer and
// UndefinedBehaviorSanitizer. Needs clang with its runtime libraries (Debian: clang-16 and libclang-rt-16-dev); without it says so.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const output = join(directory, 'build', 'fuzz');
const seconds = process.argv[2] ?? '60';
if (!(Number(seconds) > 0)) {
  console.error(`fuzz:arguments: '${seconds}' is no number of seconds`);
  process.exit(2);
}
mkdirSync(join(output, 'corpus'), { recursive: true });

const SANITIZERS = 'address,undefined';
const versions = Array.from({ length: 12 }, (_, i) => `clang++-${22 - i}`);
const compiler = [process.env.CLANGXX, 'clang++', ...versions].find((name) => name && canFuzz(name));
if (compiler === undefined) {
  console.log(
    'fuzz:arguments skipped: no clang++ that links -fsanitize=fuzzer was found; install clang and its compiler-rt, or name it with CLANGXX',
  );
  process.exit(0);
}

// What these packages say of themselves is relative to the folder one stands in.
const headers = ['node-addon-api', 'node-api-headers'].map((name) => {
  const folder = dirname(require.resolve(`${name}/package.json`));
  return existsSync(join(folder, 'include')) ? join(folder, 'include') : folder;
});
const flags = [
  ...['-std=c++17', '-g', '-O1', '-pthread', `-I${directory}/include`, `-I${directory}/cpp`],
  ...headers.flatMap((folder) => ['-isystem', folder]),
  ...[`-fsanitize=fuzzer-no-link,${SANITIZERS}`, '-fno-sanitize-recover=undefined'],
  ...['NAPI_VERSION=8', 'LAZY_NATIVE_VERSION="0"', 'NODE_ADDON_API_DISABLE_DEPRECATED'].map((one) => `-D${one}`),
  ...['', '_ALL'].map((all) => `-DNODE_ADDON_API_CPP_EXCEPTIONS${all}`),
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
];
const layer = ['context', 'device', 'failure', 'one_thread', 'operations', 'pool', 'queue', 'session', 'storage'];
const sources = [
  ...layer.map((name) => join(directory, 'cpp', `${name}.cpp`)),
  ...['arguments_fuzz', 'fake_napi'].map((name) => join(directory, 'test/fuzz', `${name}.cpp`)),
];
const program = join(output, 'arguments_fuzz');
run(compiler, [...flags, `-fsanitize=fuzzer,${SANITIZERS}`, ...sources, '-o', program]);
// What the layer throws for lack of memory is what is tried, not a finding.
run(
  program,
  [
    '-max_len=600',
    '-timeout=10',
    '-rss_limit_mb=2048',
    '-print_final_stats=1',
    `-max_total_time=${seconds}`,
    join(output, 'corpus'),
  ],
  {
    ASAN_OPTIONS: 'allocator_may_return_null=1',
  },
);

function canFuzz(name) {
  const source = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }';
  const args = ['-x', 'c++', `-fsanitize=fuzzer,${SANITIZERS}`, '-', '-o', join(output, 'probe')];
  return spawnSync(name, args, { input: source }).status === 0;
}

function run(command, args, environment = {}) {
  const { status } = spawnSync(command, args, {
    stdio: 'inherit',
    cwd: output,
    env: { ...process.env, ...environment },
  });
  if (status !== 0) process.exit(status ?? 1);
}
