// node scripts/resources.mjs [--logs FOLDER]
//
// Compiles every kernel for every architecture, reads ptxas's report, and writes docs/benchmarks/cuda-resources.md:
// registers, shared memory, spills and occupancy.
// With --logs, the reports (one `<kernel file>.log` each) are taken from there. Exits with 1 when attention or a matrix
// product spills.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));
const KERNELS = join(directory, 'cpp', 'kernels');

// CUDA C++ Programming Guide, "Technical specifications per compute capability".
const ARCHITECTURES = {
  80: { sharedKiB: 164, warps: 64, blocks: 32 },
  86: { sharedKiB: 100, warps: 48, blocks: 16 },
  89: { sharedKiB: 100, warps: 48, blocks: 24 },
  '90a': { sharedKiB: 228, warps: 64, blocks: 32 },
  100: { sharedKiB: 228, warps: 64, blocks: 32 },
  120: { sharedKiB: 100, warps: 48, blocks: 24 },
};

/** Attention and matrix products: none of these may spill. */
const HEAVY = /attention|matmul|thin/;

const { values } = parseArgs({ options: { logs: { type: 'string' } } });
const logs = values.logs ?? compileAll();
const kernels = readdirSync(logs)
  .filter((name) => name.endsWith('.log'))
  .flatMap((name) => parse(basename(name, '.log'), readFileSync(join(logs, name), 'utf8')));
const spilled = kernels.filter(({ file, spills }) => spills > 0 && HEAVY.test(file));
const output = join(directory, '..', '..', 'docs', 'benchmarks', 'cuda-resources.md');
mkdirSync(dirname(output), { recursive: true });
writeFileSync(output, page(kernels));
console.log(`${kernels.length} kernels; ${spilled.length} of attention and matrix products spill; wrote ${output}`);
process.exit(kernels.length > 0 && spilled.length === 0 ? 0 : 1);

function compileAll() {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-resources-'));
  const targetsOf = (names) => names.flatMap((a) => ['-gencode', `arch=compute_${a},code=sm_${a}`]);
  for (const file of readdirSync(KERNELS).filter((name) => name.endsWith('.cu'))) {
    const stem = basename(file, '.cu');
    const { status, stdout, stderr } = spawnSync(
      process.env.CUDACXX ?? 'nvcc',
      [
        '-std=c++17',
        '-O3',
        ...targetsOf(stem.endsWith('_hopper') ? ['90a'] : Object.keys(ARCHITECTURES)),
        '--threads',
        '2',
        '-diag-suppress=186,177',
        `-I${join(directory, 'cpp')}`,
        `-I${join(directory, '..', 'native', 'include')}`,
        '-Xptxas=-v',
        '-c',
        '-o',
        join(folder, `${stem}.o`),
        join(KERNELS, file),
      ],
      { encoding: 'utf8', maxBuffer: 1 << 28 },
    );
    if (status !== 0) throw new Error(`nvcc failed on ${file}:\n${stderr}`);
    writeFileSync(join(folder, `${stem}.log`), stdout + stderr);
  }
  return folder;
}

function parse(file, log) {
  const entry =
    /Compiling entry function '(\w+)' for 'sm_(\w+)'[\s\S]*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads[\s\S]*?Used (\d+) registers/g;
  const found = [...log.matchAll(entry)];
  const names = demangle(found.map(([, name]) => name));
  return found.map(([, , architecture, stack, stores, loads, registers], i) => ({
    file,
    architecture,
    name: names[i],
    stack: Number(stack),
    spills: Number(stores) + Number(loads),
    registers: Number(registers),
    ...launchShape(names[i]),
  }));
}

function demangle(names) {
  const { stdout, status } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' });
  if (status !== 0) throw new Error('c++filt is needed to read the names of the kernels');
  return stdout
    .trim()
    .split('\n')
    .map((name) =>
      name
        .replace(/\(anonymous namespace\)::/g, '')
        .replace(/gpu::/g, '')
        .replace(/^void /, '')
        .replace(/\(.*$/s, '')
        .replaceAll('__nv_bfloat16', 'bf16')
        .replaceAll('__half', 'f16'),
    );
}

/** Threads and shared memory of a launch, from the shape in the kernel's type; the formulas of the sources. */
function launchShape(name) {
  const hopper = /HopperShape<(\d+), (\d+),/.exec(name);
  if (hopper !== null) {
    // q, four slots, the bias, maxima and barriers. ptxas says what a launch takes; setmaxnreg then gives 240 to those who compute.
    const [columns, keyTile] = hopper.slice(1).map(Number);
    return { threads: 384, shared: 256 * columns + 8 * keyTile * columns + 32768 + 128 * 8 * 4 + 72 };
  }
  if (name.startsWith('hopperGradKernel')) {
    // k, v, four stages of q and dO, ds twice, then terms, bias, diagonals, notes and barriers.
    return {
      threads: 512,
      shared: 256 * 128 + 8 * 64 * 128 + 2 * 128 * 128 + 4 * 64 * 16 + 4 * 192 * 4 + 23 * 72 * 4 + 184,
    };
  }
  const shape = /(Forward|Grad)Shape<([^>]*)>/
    .exec(name)?.[2]
    .split(',')
    .map((x) => (x.trim() === 'true' ? 1 : Number(x) || 0));
  if (shape !== undefined && name.startsWith('forwardKernel')) {
    const [columns, values, rowTiles, warps, keyTile, tops, resident] = shape;
    const rows = 16 * rowTiles * warps;
    const tiles = 2 * (rows * columns + 2 * keyTile * (columns + values));
    const table = resident ? 0 : rows * 16 + 8192;
    return { threads: 32 * warps, shared: tiles + 4 * (warps * tops + rows) + table };
  }
  if (shape !== undefined && name.startsWith('gradKernel')) {
    const [columns, step] = shape;
    const tiles = 4 * 128 * columns + 8 * step * columns + (columns === 64 ? 2 * 128 * step : 0);
    return { threads: 256, shared: tiles + 2 * step * 16 + (2 * step * 4) / 16 + 32 };
  }
  if (shape !== undefined) {
    const [columns, rowTiles, warps, step, stages, ,] = shape;
    const resident = /, true, /.test(name);
    const rows = 16 * rowTiles * warps;
    const rest = 4 * rows * columns + 4 * stages * step * columns;
    const query = name.startsWith('queryGradKernel');
    return { threads: 32 * warps, shared: rest + (query ? (resident ? 0 : rows * step * 4) : stages * step * 16) };
  }
  if (name.startsWith('tensorProductKernel')) return { threads: 256, shared: 65536 };
  if (name.startsWith('exactProductKernel')) return { threads: 256, shared: 2 * 16 * 68 * 4 };
  const exact = /^exact(?:Forward|QueryGrad|KeyGrad)Kernel<\w+, (\d+)>/.exec(name);
  if (exact !== null) return { threads: 256, shared: (2 * 32 * (Number(exact[1]) + 4) + 2 * 32 * 33) * 4 };
  if (/^(decode|thin|append)/.test(name)) return { threads: 128, shared: 0 };
  return { threads: name.startsWith('draw') ? 512 : 256, shared: 0 };
}

/** Warps of this kernel that an SM holds at once. Registers go to a warp in units of 256. */
function occupancy({ architecture, registers, threads, shared }) {
  const { sharedKiB, warps, blocks } = ARCHITECTURES[architecture];
  const perBlock = threads / 32;
  const byRegisters = Math.floor(Math.floor(65536 / (Math.ceil((registers * 32) / 256) * 256)) / perBlock);
  const byShared = Math.floor((sharedKiB * 1024) / (shared + 1024));
  return Math.min(byRegisters, byShared, Math.floor(warps / perBlock), blocks) * perBlock;
}

function table(kernelsOfTable) {
  const byName = Map.groupBy?.(kernelsOfTable, ({ name }) => name) ?? group(kernelsOfTable);
  const columns = Object.keys(ARCHITECTURES);
  const rows = [...byName].map(([name, entries]) => {
    const cells = columns.map((a) => {
      const k = entries.find(({ architecture }) => architecture === a);
      return k === undefined ? '-' : `${k.registers} / ${k.spills} / ${occupancy(k)}`;
    });
    return `| \`${name}\` | ${entries[0].threads} | ${(entries[0].shared / 1024).toFixed(1)} | ${cells.join(' | ')} |`;
  });
  return [
    `| kernel | threads | shared KiB | ${columns.map((a) => `sm_${a}`).join(' | ')} |`,
    `|---|---|---|${columns.map(() => '---|').join('')}`,
    ...rows,
  ].join('\n');
}

function group(items) {
  const map = new Map();
  for (const item of items) map.set(item.name, [...(map.get(item.name) ?? []), item]);
  return map;
}

function page(all) {
  const heavy = all.filter(({ file }) => HEAVY.test(file));
  const light = all.filter(({ file }) => !HEAVY.test(file));
  return `# CUDA kernels: resources

Generated by \`packages/backend-cuda/scripts/resources.mjs\` from ptxas's report (CUDA 13.0, -O3). **Nothing here was
measured on a GPU**: registers, spills and shared memory are the compiler's, occupancy is computed from them. Predicted times: [cuda.md](cuda.md).

Kernels whose names begin with \`hopper\` are for sm_90a alone. Cells are registers per thread / bytes of spills / warps that a multiprocessor holds at once (from registers, shared
memory and the limits of the architecture).

## Attention and matrix products

${table(heavy)}

## Other kernels

Shared memory of these is under 6 KiB and left out of their occupancy.

${table(light)}
`;
}
