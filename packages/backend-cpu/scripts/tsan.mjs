// npm run test:tsan: the queue, the allocators and the thread pool under ThreadSanitizer.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const native = dirname(dirname(fileURLToPath(import.meta.resolve('@lazy-attention/native/build'))));
const output = join(directory, 'build', 'tsan');
const program = join(output, 'concurrency_test');
const sources = [
  join(directory, 'test/cpp/concurrency_test.cpp'),
  ...['arena', 'thread_pool'].map((name) => join(directory, 'cpp', `${name}.cpp`)),
  ...['queue', 'one_thread', 'pool', 'device'].map((name) => join(native, 'cpp', `${name}.cpp`)),
];
mkdirSync(output, { recursive: true });
const flags = ['-std=c++17', '-O1', '-g', '-fsanitize=thread', '-Wall', '-Wextra', `-I${native}/include`, '-pthread'];
const run = (command, args) =>
  execFileSync(command, args, { stdio: 'inherit', env: { ...process.env, TSAN_OPTIONS: 'halt_on_error=1' } });
run(process.env.CXX ?? 'c++', [...flags, ...sources, '-o', program]);
run(program, []);
