import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { run, TINY, temporary } from './helpers.ts';

interface Mistake {
  readonly args: (root: string) => string[];
  readonly code: number;
  readonly says: RegExp;
}

const train = (...args: string[]) => ['train', ...args];

/** Each is refused with its exit code before a run folder exists. */
const mistakes: Record<string, Mistake> = {
  'unknown command': { args: () => ['trian'], code: 2, says: /unknown command 'trian'/ },
  'unknown flag': {
    args: () => train('--stepz', '3'),
    code: 2,
    says: /unknown option '--stepz'.*\n.*Did you mean --steps/,
  },
  'unknown preset': {
    args: () => train('--preset', 'huge'),
    code: 2,
    says: /Allowed choices are one-head, pico, nano/,
  },
  'unknown attention': { args: () => train('--attention', 'flash'), code: 2, says: /Allowed choices are lazy/ },
  'unknown backend': { args: () => train('--backend', 'abacus'), code: 1, says: /BACKEND_UNAVAILABLE.*'abacus'/ },
  'steps of zero': { args: () => train('--steps', '0'), code: 2, says: /at least 1/ },
  'warm-up beyond the end': {
    args: () => train(...TINY, '--warmup', '9'),
    code: 2,
    says: /--warmup is 9, more than the 6 steps/,
  },
  'empty prompt': {
    args: () => train(...TINY, '--prompt', ''),
    code: 2,
    says: /'--prompt <text>' argument '' is invalid.*at least one character/,
  },
  'field of a plain text': {
    args: (root) => train(file(root, 'a.txt', 'word '.repeat(99)), ...TINY, '--field', 'x'),
    code: 1,
    says: /openCorpus: --field has no use/,
  },
  'column of the embedded book': {
    args: () => train(...TINY, '--column', 'x'),
    code: 1,
    says: /--column has no use for moby-dick/,
  },
  'probability of zero': { args: () => ['generate', 'x', '--prompt', 'y', '--top-p', '0'], code: 2, says: /above 0/ },
  'fractional batch': { args: () => train('--batch', '1.5'), code: 2, says: /integer/ },
  'negative rate': { args: () => train('--lr', '-1'), code: 2, says: /positive/ },
  'a batch that no axis holds': { args: () => train(...TINY, '--batch', '1e9'), code: 2, says: /at most 1048576/ },
  'a batch that no memory holds': {
    args: () => train(...TINY, '--context', '4096', '--batch', '1000000'),
    code: 2,
    says: /take \d+\.\d GiB at the peak, and .* are there; --micro-batch \d+ or --micro-batch \d+ --recompute fits/,
  },
  'more tokens than an axis holds': {
    args: () => ['generate', 'x', '--prompt', 'y', '--tokens', '1e9'],
    code: 2,
    says: /at most 1048576/,
  },
  'a window that no axis holds': {
    args: () => train(...TINY, '--window', '500000000'),
    code: 2,
    says: /at most 1048576/,
  },
  'heads that do not divide the width': {
    args: () => train(...TINY, '--width', '64', '--heads', '3'),
    code: 2,
    says: /train: --width \(64\) must be a multiple of --heads \(3\)\n/,
  },
  'heads that are too thin': {
    args: () => train(...TINY, '--width', '8', '--heads', '4'),
    code: 2,
    says: /train: --width \/ --heads is 2; expected a multiple of 4, at most 256\n/,
  },
  'a context longer than the text': {
    args: (root) => train(file(root, 'a.txt', 'word '.repeat(99)), ...TINY, '--context', '4096'),
    code: 1,
    says: /use more text, or --context of at most \d+/,
  },
  'a penalty on weights that are not there': {
    args: () => train(...TINY, '--attention', 'gated-deltanet', '--sink-penalty', '1'),
    code: 2,
    says: /--sink-penalty needs the weights of the op 'attention', and gated-deltanet attention is made of other ops/,
  },
  'a model that is not there': { args: () => ['eval', 'nowhere'], code: 1, says: /there is no file or folder nowhere/ },
  'an empty --out': { args: () => train(...TINY, '--out', ''), code: 1, says: /--out is empty/ },
  'an --out that cannot be made': {
    args: () => train(...TINY, '--out', '/proc/x'),
    code: 1,
    says: /RUN_WRITE.*\/proc\/x/,
  },
  'missing data': { args: (root) => train(join(root, 'none.txt'), ...TINY), code: 1, says: /DATA_MISSING/ },
  'empty data': { args: (root) => train(file(root, 'empty.txt', ''), ...TINY), code: 1, says: /DATA_EMPTY/ },
  'too short data': { args: (root) => train(file(root, 'short.txt', 'abc'), ...TINY), code: 1, says: /DATA_TOO_SHORT/ },
  'binary data': {
    args: (root) => train(file(root, 'b.txt', '\0\x01\0'.repeat(99)), ...TINY),
    code: 1,
    says: /DATA_NOT_TEXT/,
  },
  'damaged parquet': {
    args: (root) => train(file(root, 'x.parquet', 'PAR1 no'), ...TINY),
    code: 1,
    says: /DATA_FORMAT/,
  },
  'missing tokeniser': {
    args: (root) => train(...TINY, '--tokenizer', join(root, 'no.json')),
    code: 1,
    says: /DATA_MISSING.*no\.json/,
  },
  'type the backend lacks': {
    args: () => train(...TINY, '--backend', 'cpu', '--dtype', 'f16'),
    code: 2,
    says: /--dtype f16 is not among the types of backend 'cpu'/,
  },
  'resume without folder': { args: () => train('--resume'), code: 2, says: /--out FOLDER/ },
  'resume of nothing': { args: (root) => train('--resume', '--out', join(root, 'no')), code: 1, says: /RUN_MISSING/ },
  'generate without prompt': { args: () => ['generate', 'x'], code: 2, says: /required option '--prompt/ },
  'generate from nothing': { args: (root) => ['generate', root, '--prompt', 'x'], code: 1, says: /RUN_MISSING/ },
  ...(process.platform === 'win32' ? {} : pipes()),
};

function pipes(): Record<string, Mistake> {
  return {
    'a pipe as recipe': {
      args: (root) => train('--config', pipe(root)),
      code: 2,
      says: /--config .*recipe\.yaml cannot be read: it is no regular file/,
    },
    'a pipe in place of a store': {
      args: (root) => train(dirname(pipe(root, 'store', 'index.json')), ...TINY),
      code: 1,
      says: /DATA_EMPTY/,
    },
  };
}

function pipe(root: string, folder = '.', name = 'recipe.yaml'): string {
  mkdirSync(join(root, folder), { recursive: true });
  const path = join(root, folder, name);
  execFileSync('mkfifo', [path]);
  return path;
}

function file(root: string, name: string, text: string): string {
  writeFileSync(join(root, name), text);
  return join(root, name);
}

describe('is refused', () => {
  it.each(Object.keys(mistakes))('%s', async (name) => {
    const root = temporary();
    const out = join(root, 'out');
    const { args, code, says } = mistakes[name];
    const given = args(root);
    const outcome = await run(
      ...given,
      ...(given[0] === 'train' && !given.includes('--out') && name !== 'resume without folder' ? ['--out', out] : []),
    );
    expect(outcome.stderr).toMatch(says);
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).not.toMatch(/\n\s+at /);
    expect(existsSync(out)).toBe(false);
  });
});

describe('a run that is there', () => {
  let made: string;
  beforeAll(async () => {
    const { mkdtempSync } = await import('node:fs');
    const { tmpdir } = await import('node:os');
    made = join(mkdtempSync(join(tmpdir(), 'lazy-attention-')), 'run');
    expect((await run('train', ...TINY, '--out', made)).code).toBe(0);
  });

  it('is not overwritten', async () => {
    const before = readFileSync(join(made, 'run.json'), 'utf8');
    const { code, stderr } = await run('train', ...TINY, '--out', made);
    expect([code, /RUN_EXISTS/.test(stderr)]).toEqual([1, true]);
    expect(readFileSync(join(made, 'run.json'), 'utf8')).toBe(before);
  });

  it.each([
    ['--lr', '0.5'],
    ['--steps', '3'],
    ['--attention', 'softmax'],
    ['--context', '32'],
    ['--floor', '0.5'],
    ['--weight-decay', '0'],
    ['--clip', '0'],
  ])('is not resumed with another %s', async (flag, value) => {
    const { code, stderr } = await run('train', '--resume', '--out', made, '--backend', 'reference', flag, value);
    expect(code).toBe(2);
    expect(stderr).toContain(`${flag} is ${value}, but the run was started with`);
  });

  it('names a backend of its own choosing in vain', async () => {
    const path = join(made, 'run.json');
    const before = readFileSync(path, 'utf8');
    const record = JSON.parse(before);
    writeFileSync(path, JSON.stringify({ ...record, environment: { ...record.environment, backend: 'commander' } }));
    const { code, stderr } = await run('train', '--resume', '--out', made);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/'commander', which is not one of this project's.*--backend/),
    ]);
    writeFileSync(path, before);
  });

  it('with a truncated checkpoint is refused by name, and left as it is', async () => {
    const checkpoints = readdirSync(join(made, 'checkpoints')).sort();
    const weights = join(made, 'checkpoints', checkpoints.at(-1) as string, 'model.safetensors');
    truncateSync(weights, 1000);
    for (const args of [
      ['train', '--resume', '--out', made],
      ['generate', made, '--prompt', 'x'],
    ]) {
      const { code, stderr } = await run(...args, '--backend', 'reference');
      expect(code).toBe(1);
      expect(stderr).toMatch(/CHECKPOINT_CORRUPT.*model\.safetensors.*step-00000005 before it is whole/);
    }
    expect(readdirSync(join(made, 'checkpoints')).sort()).toEqual(checkpoints);
  });
});
