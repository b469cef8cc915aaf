// npm run test:neon: the NEON build on an emulated ARM processor. Needs a cross compiler (Debian: g++-aarch64-linux-gnu)
// and QEMU (qemu-user-static); on an ARM machine neither.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const native = dirname(dirname(fileURLToPath(import.meta.resolve('@lazy-attention/native/build'))));
const output = join(directory, 'build', 'neon');
const compiler = process.arch === 'arm64' ? 'c++' : 'aarch64-linux-gnu-g++';
const run = (command, args) => execFileSync(command, args, { stdio: 'inherit' });
const flags = ['-std=gnu++17', '-O2', '-Wall', '-Wextra', '-Wno-psabi', `-I${native}/include`];
mkdirSync(output, { recursive: true });

const kernels = join(directory, 'cpp', 'kernels');
const objects = [];
for (const isa of ['neon', 'portable']) {
  for (const file of readdirSync(kernels).filter((name) => name.endsWith('.cpp'))) {
    const object = join(output, `${isa}-${file}.o`);
    run(compiler, [
      ...flags,
      '-ffp-contract=fast',
      '-fno-math-errno',
      '-fno-trapping-math',
      `-DLAZY_ISA=${isa}`,
      '-c',
      join(kernels, file),
      '-o',
      object,
    ]);
    objects.push(object);
  }
}
const sources = ['cpu', 'rope_table', 'runtime', 'thread_pool'].map((name) => join(directory, 'cpp', `${name}.cpp`));
const program = join(output, 'kernels_test');
run(compiler, [
  ...flags,
  '-DLAZY_HAS_NEON',
  '-static',
  '-pthread',
  join(directory, 'test/cpp/kernels_test.cpp'),
  ...sources,
  ...objects,
  '-o',
  program,
]);
if (process.arch === 'arm64') run(program, []);
else run('qemu-aarch64-static', [program]);
