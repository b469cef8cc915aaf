// node scripts/issue-slots.mjs [--sass FILE]
//
// Counts the instructions that a warp issues per tile of attention, from the machine code for sm_90a: forward of head size 64 by
// mma.sync, backward (grad-slots.mjs), and both by wgmma (hopper-slots.mjs, hopper-grad-slots.mjs). The tensor cores' share is fixed,
// so these say what the rest costs, without a GPU. Prints a table; exits with 1 where a loop is past its limit, with 2 where there is no nvcc or
// nvdisasm. --sass takes a disassembly (nvdisasm -c) of attention_forward that is there.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gradSlots } from './grad-slots.mjs';
import { hopperGradSlots } from './hopper-grad-slots.mjs';
import { hopperSlots } from './hopper-slots.mjs';
import { blocksOf, loopsOf, shortestThrough } from './paths.mjs';

const directory = dirname(dirname(fileURLToPath(import.meta.url)));

/** Instructions that a loop may have: pass 1 takes 32 rows and 32 keys at a time, pass 2 takes 32 rows and 16 keys. */
export const LIMITS = {
  'pass 1': 230,
  'pass 1, training': 230,
  'pass 2': 170,
  'pass 2, training': 200,
  // 16 keys and 16 queries; a step of 64 queries (32 from head size 128) and 128 keys.
  'backward 64, piece': 240,
  'backward 128, piece': 310,
  'backward 64, step': 1400,
  'backward 128, step': 1090,
  'backward 64, dbias of a step': 450,
  'backward 128, dbias of a step': 270,
  // 16 rows and a tile of keys.
  'hopper 64, 128 keys, pass 1': 380,
  'hopper 64, 128 keys, pass 2': 490,
  'hopper 64, training, 64 keys, pass 1': 255,
  'hopper 64, training, 64 keys, pass 2': 395,
  'hopper 128, 64 keys, pass 1': 300,
  'hopper 128, 64 keys, pass 2': 365,
  // A warp of 16 keys: a piece is 32 queries, a step 64. Another warp of 16 queries takes dq.
  'hopper backward, piece': 385,
  'hopper backward, step': 815,
  'hopper backward, dq of a step': 245,
  'hopper backward, dbias of a step': 670,
};

/** Kernels for sm_90a: what they are called here, and a part of their mangled name. */
const HOPPER = {
  'hopper 64, 128 keys': 'ILi64ELi128ELb0E',
  'hopper 64, training, 64 keys': 'ILi64ELi64ELb1E',
  'hopper 128, 64 keys': 'ILi128ELi64ELb0E',
};

const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

/** nvcc and nvdisasm, or the reason why there are none. */
export function findTools() {
  const nvcc = [process.env.CUDACXX, 'nvcc', '/usr/local/cuda/bin/nvcc'].filter(Boolean).find(runs);
  if (nvcc === undefined) return { missing: 'nvcc was not found (CUDACXX, PATH, /usr/local/cuda/bin)' };
  const beside = join(dirname(nvcc), 'nvdisasm');
  const nvdisasm = [process.env.NVDISASM, beside, 'nvdisasm'].filter(Boolean).find(runs);
  if (nvdisasm === undefined) return { missing: 'nvdisasm was not found (NVDISASM, beside nvcc, PATH)' };
  return { nvcc, nvdisasm };
}

function execute(file, args) {
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${file} failed:\n${stderr}`);
  return stdout;
}

/** The disassembly of a file of kernels for sm_90a, without .cu. */
export function disassemble({ nvcc, nvdisasm }, file) {
  const folder = mkdtempSync(join(tmpdir(), 'lazy-slots-'));
  try {
    const cubin = join(folder, 'kernels.cubin');
    const includes = [join(directory, 'cpp'), join(directory, '..', 'native', 'include')].map((path) => `-I${path}`);
    const source = join(directory, 'cpp', 'kernels', `${file}.cu`);
    const flags = ['-std=c++17', '-O3', '-arch=sm_90a', '-diag-suppress=186,177', '-cubin'];
    execute(nvcc, [...flags, ...includes, '-o', cubin, source]);
    return execute(nvdisasm, ['-c', cubin]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Instructions of the kernel whose mangled name `match` finds, with the places of its labels. */
export function kernel(sass, match) {
  const code = sass.split(/^\.text\./m).find((section) => match.test(section.slice(0, section.indexOf('\n'))));
  if (code === undefined) throw new Error(`no kernel is called ${match}`);
  const instructions = [];
  const predicated = [];
  const labels = new Map();
  for (const line of code.split('\n')) {
    if (line.startsWith('\t.section')) break;
    const label = /^(\.L_x_\d+):/.exec(line.trim())?.[1];
    if (label !== undefined) labels.set(label, instructions.length);
    const text = /^\s*\/\*[0-9a-f]+\*\/\s+(.*?);/.exec(line)?.[1];
    if (text === undefined) continue;
    predicated.push(text.startsWith('@'));
    instructions.push(text.replace(/^@!?U?P\w+\s+/, ''));
  }
  return { instructions, predicated, labels };
}

/** Loops that hold no other loop, as counts by opcode. */
function innermostLoops({ instructions, labels }) {
  const loops = instructions.flatMap((text, end) => {
    const target = /^BRA\S*\s+(?:\S+,\s*)?`\((\.L_x_\d+)\)/.exec(text)?.[1];
    const start = target === undefined ? undefined : labels.get(target);
    return start !== undefined && start < end ? [{ start, end }] : [];
  });
  const holds = (a, b) => a !== b && a.start <= b.start && a.end >= b.end && !(a.start === b.start && a.end === b.end);
  return loops
    .filter((loop) => !loops.some((other) => holds(loop, other)))
    .map(({ start, end }) => {
      const count = new Map();
      for (const text of instructions.slice(start, end + 1)) {
        const opcode = text.split(/[\s.]/)[0];
        count.set(opcode, (count.get(opcode) ?? 0) + 1);
      }
      return { slots: end - start + 1, count };
    });
}

/** Forward attention of head size 64 by mma.sync. */
const forwardCode = (sass, training) =>
  kernel(sass, new RegExp(`forwardKernelI13__nv_bfloat16\\S*ForwardShapeILi64E\\S*Lb${training ? 1 : 0}EEEv`));

/**
 * Issue slots of the plain, biased and border tiles of either pass.
 *
 * @returns {{ loop: string, plain: number, biased: number, border: number }[]}
 */
export function issueSlots(sass) {
  const found = [];
  for (const training of [false, true]) {
    const loops = innermostLoops(forwardCode(sass, training)).filter(({ count }) => (count.get('HMMA') ?? 0) >= 32);
    // Only pass 2 rounds weights.
    const passes = [loops.filter(({ count }) => !count.has('F2FP')), loops.filter(({ count }) => count.has('F2FP'))];
    passes.forEach((tiles, i) => {
      if (tiles.length !== 3) throw new Error(`pass ${i + 1} has ${tiles.length} loops; expected 3`);
      const [plain, biased, border] = tiles.map(({ slots }) => slots).sort((a, b) => a - b);
      found.push({ loop: `pass ${i + 1}${training ? ', training' : ''}`, plain, biased, border });
    });
  }
  return found;
}

/**
 * Instructions of a warp for a key tile beside those loops, in pass 1 and pass 2; the next tile is fetched.
 *
 * @returns {{ inference: [number, number], training: [number, number] }}
 */
export function restOfTiles(sass) {
  const [inference, training] = [false, true].map((trains) => {
    const code = forwardCode(sass, trains);
    const blocks = blocksOf(code);
    const count = (within, opcode) =>
      within.reduce((sum, b) => {
        const { start, end } = blocks[b];
        return sum + code.instructions.slice(start, end).filter((text) => text.startsWith(opcode)).length;
      }, 0);
    const loops = loopsOf(blocks);
    const holds = (a, b) => a !== b && a.includes(b[0]) && a.includes(b.at(-1));
    const inner = loops.filter((a) => count(a, 'HMMA') >= 32 && !loops.some((b) => holds(a, b)));
    return [false, true].map((second) => {
      const kinds = inner.filter((within) => count(within, 'F2FP') > 0 === second);
      const tiles = loops.find((within) => kinds.length === 3 && kinds.every((kind) => holds(within, kind)));
      if (tiles === undefined) throw new Error(`no loop over tiles in pass ${second ? 2 : 1}`);
      const fetching = tiles.filter((b) => count([b], 'LDGSTS') > 1);
      const way = (kind) => [...new Set([tiles[0], ...fetching, ...kind, tiles.at(-1)])].sort((a, b) => a - b);
      const through = kinds.map((kind) => shortestThrough(blocks, way(kind)));
      const own = kinds.map((kind) => shortestThrough(blocks, kind));
      return Math.min(...through.map((slots, i) => slots - own[i]));
    });
  });
  return { inference, training };
}

/** Backward attention by mma.sync: a piece, a step, and what dbias adds to one. */
export function gradIssueSlots(sass) {
  const shapes = { 64: { step: 64, keys: 128 }, 128: { step: 32, keys: 128 } };
  return Object.entries(shapes).flatMap(([columns, shape]) => {
    const code = kernel(sass, new RegExp(`gradKernelI13__nv_bfloat16\\S*GradShapeILi${columns}E`));
    const { piece, step, diagonals } = gradSlots(code, shape);
    return [
      { loop: `backward ${columns}, piece`, ...piece },
      { loop: `backward ${columns}, step`, ...step },
      { loop: `backward ${columns}, dbias of a step`, plain: diagonals },
    ];
  });
}

/** The same of the kernels for sm_90a, which have their products by wgmma. */
export function hopperIssueSlots(sass) {
  return Object.entries(HOPPER).flatMap(([name, shape]) => {
    const code = kernel(sass, new RegExp(`hopperForwardKernelI13__nv_bfloat16\\S*HopperShape${shape}`));
    return hopperSlots(code).map(({ pass, ...slots }) => ({ loop: `${name}, pass ${pass}`, ...slots }));
  });
}

/** The same of backward attention for sm_90a. */
export function hopperGradIssueSlots(sass) {
  const code = kernel(sass, /hopperGradKernelI13__nv_bfloat16/);
  const { piece, step, queries, diagonals } = hopperGradSlots(code, { step: 64, piece: 32 });
  return [
    { loop: 'hopper backward, piece', ...piece },
    { loop: 'hopper backward, step', ...step },
    { loop: 'hopper backward, dq of a step', plain: queries },
    { loop: 'hopper backward, dbias of a step', plain: diagonals },
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { sass: { type: 'string' } } });
  const tools = values.sass === undefined ? findTools() : {};
  if (tools.missing !== undefined) {
    console.error(`issue-slots: ${tools.missing}`);
    process.exit(2);
  }
  if (values.sass !== undefined && !existsSync(values.sass)) throw new Error(`${values.sass} is not there`);
  const slots = issueSlots(
    values.sass === undefined ? disassemble(tools, 'attention_forward') : readFileSync(values.sass, 'utf8'),
  );
  if (values.sass === undefined) {
    slots.push(...gradIssueSlots(disassemble(tools, 'attention_grad')));
    slots.push(...hopperIssueSlots(disassemble(tools, 'attention_hopper')));
    slots.push(...hopperGradIssueSlots(disassemble(tools, 'attention_grad_hopper')));
  }
  console.table(slots.map((row) => ({ ...row, limit: LIMITS[row.loop] ?? '' })));
  process.exit(slots.every(({ loop, plain }) => plain <= (LIMITS[loop] ?? Number.POSITIVE_INFINITY)) ? 0 : 1);
}
