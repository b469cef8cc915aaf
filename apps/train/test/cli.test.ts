import { join } from 'node:path';
import { expect, it } from 'vitest';
import { inFlags } from '../src/cli/flags.ts';
import { createProgram, EXAMPLES } from '../src/cli/program.ts';
import { run, start, TINY, temporary } from './helpers.ts';

const program = createProgram('1.2.3', () => {});

it('--help has every command and every option under a heading of its own', () => {
  const text = program.helpInformation();
  for (const heading of ['Train:', 'Use and measure:', 'Show and share:', 'This machine:'])
    expect(text).toContain(heading);
  expect(text).not.toContain('\nCommands:');
  const train = program.commands.find((command) => command.name() === 'train')?.helpInformation() ?? '';
  const headings = [...train.matchAll(/^(\S.*):$/gm)].map(([, heading]) => heading);
  expect(headings).toEqual([
    'Arguments',
    'Options',
    'Model',
    'Training',
    'Sample',
    'Starting from a model',
    'Evaluations and checkpoints',
    'Data',
  ]);
});

it('every command has examples, whose options there are', () => {
  for (const command of program.commands.filter((entry) => !['help', 'complete'].includes(entry.name()))) {
    const examples = EXAMPLES[command.name()] ?? [];
    expect(examples.length, command.name()).toBeGreaterThan(0);
    for (const example of examples) {
      expect(example.split(' ')[0]).toBe(command.name());
      const flags = [...example.matchAll(/ (--[\w-]+)/g)].map(([, flag]) => flag);
      const known = command.options.map((option) => option.long);
      expect(known).toEqual(expect.arrayContaining(flags));
    }
  }
});

const limited = process.platform === 'linux';
it.skipIf(!limited)(
  '--help and a run fit 10 GB of address space (Linux has ulimit -v)',
  { timeout: 120_000 },
  async () => {
    for (const args of [['--help'], ['generate', '--help'], ['train', ...TINY, '--out', join(temporary(), 'run')]]) {
      expect(await start(args, {}, '-v 10000000').done).toMatchObject({ code: 0, stderr: '' });
    }
  },
);

it('a shell is told what fits: options, and the choices of one', { timeout: 60_000 }, async () => {
  expect((await run('completion', 'bash')).stdout).toContain('lazy-attention');
  expect((await run('complete', '--', 'train', '--pre')).stdout).toMatch(/^--preset\t/);
  expect((await run('complete', '--', 'train', '--preset', '')).stdout).toMatch(/^nano\b/m);
});

it("a package's options are flags in messages, where there is such a flag", () => {
  expect(inFlags("no field 'text'. Name one with the option 'field'", program)).toBe(
    "no field 'text'. Name one with --field",
  );
  expect(inFlags("set the option 'checkpointEvery'", program)).toBe('set --checkpoint-every');
  expect(inFlags("Name others with the option 'extensions'", program)).toContain("the option 'extensions'");
});

it('backends says what is there without a word of a driver', { timeout: 60_000 }, async () => {
  const { stdout, stderr, code } = await run('backends', '--json');
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
  expect(JSON.parse(stdout)).toContainEqual(expect.objectContaining({ name: 'reference', available: true }));
});
