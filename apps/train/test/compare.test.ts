import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scenarioNames } from '../src/compare/comparable.ts';
import { openRun, type RunRecord } from '../src/index.ts';
import { BACKEND, lines, run, start, TINY, temporary } from './helpers.ts';

const PAIR = ['--attention', 'softmax,lazy'];

function losses(folder: string): [number, number][] {
  return lines(readFileSync(join(folder, 'metrics.jsonl'), 'utf8'))
    .map((line) => JSON.parse(line))
    .filter((metric) => metric.type === 'train')
    .map(({ step, loss }) => [step, loss]);
}

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

describe('lazy-attention compare', () => {
  it('trains all kinds with the same seeds, data and budget, and writes one report', async () => {
    const out = join(temporary(), 'all');
    const { code, stdout } = await run('compare', ...TINY, '--seeds', '2', '--out', out);
    expect(code).toBe(0);
    expect(stdout).toMatch(/\[10 of 10\] Elastic only, seed 1; about \d/);
    expect(stdout).toMatch(/Lazy +\d\.\d{4} ± \d\.\d{4}/);
    expect(stdout).toContain('Validation loss at most 0.01 nats above softmax');

    const { runs, command } = json(join(out, 'report.json'));
    expect(command).toMatch(/^lazy-attention compare .*--seeds 2/);
    expect(runs).toHaveLength(10);
    const records = runs.map(({ kind, seed }: { kind: string; seed: number }) =>
      json(join(out, `${kind}-seed${seed}`, 'run.json')),
    );
    for (const record of records) {
      expect(record.data).toEqual(records[0].data);
      expect({ ...record.training, seed: 0 }).toEqual(records[0].training);
      expect({ ...record.model, attention: '' }).toEqual({ ...records[0].model, attention: '' });
    }
    const page = readFileSync(join(out, 'report.html'), 'utf8');
    for (const arm of ['Softmax', 'ALiBi', 'Lazy', 'Bias only', 'Elastic only'])
      expect(page).toContain(`</span>${arm}`);
    expect(page).toContain('id="pico-context-16-maps"');
    expect(readFileSync(join(out, 'picture.svg'), 'utf8')).toContain('<svg');
  });

  it('Ctrl-C saves and exits with 130; --resume finishes, with the losses of a comparison that never stopped', async () => {
    const root = temporary();
    const [whole, stopped] = [join(root, 'whole'), join(root, 'stopped')];
    const args = ['compare', ...TINY, ...PAIR, '--steps', '12'];
    await run(...args, '--out', whole);
    const { child, done } = start([...args, '--out', stopped, '--json']);
    let killed = false;
    child.stdout?.on('data', (chunk) => {
      if (killed || !/"attention":"lazy".*"step":4,/.test(String(chunk))) return;
      killed = true;
      child.kill('SIGINT');
    });
    const first = await done;
    expect(first.code).toBe(130);
    expect(first.stderr).toContain(`compare --resume --out ${stopped}`);
    expect(existsSync(join(stopped, 'softmax-seed0', 'summary.json'))).toBe(true);
    expect(existsSync(join(stopped, 'lazy-seed0', 'summary.json'))).toBe(false);

    const report = join(root, 'early.html');
    const early = await run('report', stopped, '--out', report, '--backend', BACKEND);
    expect(early.code).toBe(0);
    expect(early.stdout).toMatch(/note: .*lazy-seed0 stopped at step \d+ of 12/);

    const second = await run('compare', '--resume', '--out', stopped, '--backend', BACKEND, '--sample-tokens', '8');
    expect(second.code).toBe(0);
    for (const name of ['softmax-seed0', 'lazy-seed0']) {
      expect(losses(join(stopped, name))).toEqual(losses(join(whole, name)));
    }
  });

  it('begins a run anew that was killed before its first checkpoint, and says what has not begun', async () => {
    const out = join(temporary(), 'cut');
    const done = await run('compare', ...TINY, ...PAIR, '--out', out);
    expect(done.code).toBe(0);
    const lazy = join(out, 'lazy-seed0');
    const before = losses(lazy);
    for (const name of ['checkpoints', 'metrics.jsonl', 'summary.json']) rmSync(join(lazy, name), { recursive: true });
    mkdirSync(join(lazy, 'checkpoints'));
    const resumed = await run('compare', '--resume', '--out', out, '--backend', BACKEND);
    expect(resumed.code).toBe(0);
    expect(losses(lazy)).toEqual(before);

    rmSync(lazy, { recursive: true });
    const report = await run('report', out, '--out', join(out, 'early.html'), '--backend', BACKEND);
    expect(report.stdout).toMatch(/note: .* is not complete: 1 of 2 runs have not begun/);
  });

  it('--resume deletes nothing: not beside the folder, not a run without its record, not what a link leads to', async () => {
    const home = temporary();
    const out = join(home, 'cmp');
    expect((await run('compare', ...TINY, ...PAIR, '--steps', '2', '--out', out)).code).toBe(0);
    const resume = () => run('compare', '--resume', '--out', out, '--backend', BACKEND);
    const victim = join(home, 'victim');
    mkdirSync(victim);
    writeFileSync(join(victim, 'thesis.txt'), 'precious');
    const plan = json(join(out, 'compare.json'));

    for (const seeds of [
      ['/../../victim'],
      ['0'],
      [-1],
      [0, 0],
      [],
      [0.5],
      null,
      Array.from({ length: 5000 }, (_, n) => n),
    ]) {
      writeFileSync(join(out, 'compare.json'), JSON.stringify({ ...plan, seeds }));
      expect(await resume()).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_RECORD.*seeds.*expected/) });
    }
    for (const attentions of [['lazy/../../victim'], [], ['lazy', 'lazy'], 'lazy', [{}]]) {
      writeFileSync(join(out, 'compare.json'), JSON.stringify({ ...plan, attentions }));
      expect(await resume()).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_RECORD.*attentions/) });
    }
    expect(readFileSync(join(victim, 'thesis.txt'), 'utf8')).toBe('precious');

    // A run without its record goes on, unless something else is in its folder.
    writeFileSync(join(out, 'compare.json'), JSON.stringify(plan));
    const lazy = join(out, 'lazy-seed0');
    for (const name of ['run.json', 'summary.json']) rmSync(join(lazy, name));
    writeFileSync(join(lazy, 'notes.txt'), 'precious');
    expect(await resume()).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_EXISTS.*notes\.txt/) });
    expect(readFileSync(join(lazy, 'notes.txt'), 'utf8')).toBe('precious');
    const before = losses(lazy);
    rmSync(join(lazy, 'notes.txt'));
    expect((await resume()).code).toBe(0);
    expect(losses(lazy)).toEqual(before);
    expect(existsSync(join(lazy, 'run.json'))).toBe(true);

    // Another run in the place of one is not trained, and checkpoints behind a link are not pruned.
    rmSync(join(lazy, 'summary.json'));
    const record = json(join(lazy, 'run.json'));
    writeFileSync(join(lazy, 'run.json'), JSON.stringify({ ...record, training: { ...record.training, floor: 0.5 } }));
    expect(await resume()).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_DIFFERS.*its training/) });
    writeFileSync(join(lazy, 'run.json'), JSON.stringify({ ...record, start: { tau: -0.5 } }));
    expect(await resume()).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_DIFFERS.*its start/) });
    writeFileSync(join(lazy, 'run.json'), JSON.stringify(record));
    cpSync(join(lazy, 'checkpoints'), join(victim, 'checkpoints'), { recursive: true });
    rmSync(join(lazy, 'checkpoints'), { recursive: true });
    symlinkSync(join(victim, 'checkpoints'), join(lazy, 'checkpoints'));
    expect(await resume()).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_WRITE.*symbolic link/) });
  });

  it.each([
    ['--resume without folder', ['--resume'], 2, /--out FOLDER/],
    ['--resume of nothing', ['--resume', '--out', '/nowhere/at/all'], 1, /RUN_MISSING/],
    ['a kind twice', ['--attention', 'lazy,lazy'], 2, /different names of/],
    ['more seeds than anybody waits for', ['--seeds', '1e9'], 2, /at most 1000/],
    ['an unknown kind', ['--attention', 'lazy,hasty'], 2, /'lazy,hasty' is invalid.*different names of/],
    ['an option of train that a comparison sets', ['--seed', '1'], 2, /unknown option '--seed'/],
  ])('refuses %s', async (_, args, code, says) => {
    const outcome = await run('compare', ...TINY, ...args);
    expect(outcome.stderr).toMatch(says);
    expect(outcome.code).toBe(code);
  });

  it('refuses another folder’s contents, changed options and a damaged plan', async () => {
    const root = temporary();
    const out = join(root, 'cmp');
    mkdirSync(out);
    writeFileSync(join(out, 'thesis.txt'), 'precious');
    const taken = await run('compare', ...TINY, '--out', out);
    expect(taken).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_EXISTS.*not empty/) });
    rmSync(join(out, 'thesis.txt'));
    expect((await run('compare', ...TINY, ...PAIR, '--steps', '2', '--out', out)).code).toBe(0);

    const again = await run('compare', ...TINY, ...PAIR, '--out', out);
    expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_EXISTS.*--resume/) });
    const changed = await run('compare', '--resume', '--out', out, '--steps', '5');
    expect(changed).toMatchObject({ code: 2, stderr: expect.stringMatching(/--steps is 5, but .* 2/) });
    const seeds = await run('compare', '--resume', '--out', out, '--seeds', '3');
    expect(seeds).toMatchObject({ code: 2, stderr: expect.stringMatching(/--seeds is 3/) });
    writeFileSync(join(out, 'compare.json'), '{"version": 1');
    const damaged = await run('compare', '--resume', '--out', out);
    expect(damaged).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_RECORD.*cannot be read/) });
    writeFileSync(join(out, 'compare.json'), '{"version": 99}');
    const newer = await run('compare', '--resume', '--out', out);
    expect(newer).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_VERSION.*99/) });
  });
});

describe('lazy-attention report', () => {
  let home: string;
  const at = (name: string) => join(home, name);
  const report = (...args: string[]) => run('report', ...args, '--out', at('out.html'), '--backend', BACKEND);

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'lazy-attention-report-'));
    writeFileSync(at('other.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(40));
    writeFileSync(
      at('texts.jsonl'),
      `${JSON.stringify({ text: 'a document of its own, with words. '.repeat(9) })}\n`.repeat(9),
    );
    for (const [name, ...args] of [['lazy'], ['softmax', '--attention', 'softmax'], ['slow', '--lr', '0.0001']]) {
      await run('train', ...TINY, ...args, '--out', at(name));
    }
    await run('train', at('other.txt'), ...TINY, '--out', at('other'));
    await run('train', at('texts.jsonl'), ...TINY, '--out', at('tokens'));
  });

  afterAll(() => rmSync(home, { recursive: true, force: true }));

  it('sets any runs side by side; other settings make another scenario', async () => {
    const { code, stdout } = await report(at('lazy'), at('softmax'), at('slow'));
    expect(code).toBe(0);
    expect(stdout).toContain('pico, context 16, learning rate 0.003');
    expect(stdout).toContain('pico, context 16, learning rate 0.0001');
    expect(readFileSync(at('out.html'), 'utf8')).toMatch(/<svg|<script/);
  });

  it.each([
    ['model', { ropeBase: 500 }, 'rope base 500'],
    ['training', { beta2: 0.99 }, 'beta2 0.99'],
    ['training', { documents: 'joined' }, 'documents joined'],
    ['training', { scheduleSteps: 3 }, 'schedule steps 3'],
    ['start', { tau: -0.5 }, 'tau -0.5'],
    ['start', { tauAnneal: [0, 4] as const }, 'tau anneal 0:4'],
  ] as const)('%s %o makes another scenario', (section, change, name) => {
    const { record } = openRun(at('lazy'));
    const other = { ...record, [section]: { ...record[section], ...change } } as RunRecord;
    const [first, second] = scenarioNames([record, other]);
    expect(second).toBe(`pico, context 16, ${name}`);
    expect(first).not.toBe(second);
  });

  it('how a run is cut to fit does not', () => {
    const { record } = openRun(at('lazy'));
    const training = { ...record.training, microBatch: 1, recompute: true, lossRows: 4, shardOptimizer: true, seed: 3 };
    expect(scenarioNames([record, { ...record, training }])).toEqual(['pico, context 16', 'pico, context 16']);
  });

  it('runs that differ in nothing are kept apart by name', async () => {
    cpSync(at('lazy'), at('copy'), { recursive: true });
    const { stdout } = await report(at('lazy'), at('copy'));
    expect(stdout).toContain(`Lazy (${at('lazy')})`);
    expect(stdout).toContain(`Lazy (${at('copy')})`);
  });

  it('refuses runs on other data or with another tokeniser, and names the difference', async () => {
    const data = await report(at('lazy'), at('other'));
    expect(data).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/RUN_DIFFERS.*the data is moby-dick .*other\.txt/),
    });
    const tokeniser = await report(at('lazy'), at('tokens'));
    expect(tokeniser).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/RUN_DIFFERS.*the tokeniser is .* in the first and/),
    });
  });

  it('a run without checkpoints is shown without its attention', async () => {
    cpSync(at('lazy'), at('bare'), { recursive: true });
    rmSync(join(at('bare'), 'checkpoints'), { recursive: true });
    const { code, stdout } = await report(at('bare'));
    expect(code).toBe(0);
    expect(stdout).toMatch(/note: .*bare has no checkpoint: its attention could not be measured/);
    expect(readFileSync(at('out.html'), 'utf8')).toContain('only the losses are shown');
  });

  it('a metrics file that ends in the middle of a line is read up to there; a damaged one is refused', async () => {
    cpSync(at('lazy'), at('cut'), { recursive: true });
    const path = join(at('cut'), 'metrics.jsonl');
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.slice(0, -30));
    const cut = await report(at('cut'));
    expect(cut.code).toBe(0);
    expect(cut.stdout).toMatch(/note: .*metrics.jsonl ends in the middle of a line; that line was left out/);
    expect(cut.stdout).toMatch(/note: .*cut was stopped before its last evaluation/);
    writeFileSync(path, text.replace('"loss"', '"lo'));
    expect(await report(at('cut'))).toMatchObject({ code: 1, stderr: expect.stringMatching(/RUN_METRICS.*line 1/) });
  });

  it('refuses what is no run, the same run twice, and a place where it cannot write', async () => {
    expect(await report(at('nowhere'))).toMatchObject({ code: 1, stderr: expect.stringContaining('RUN_MISSING') });
    expect(await report(home)).toMatchObject({ code: 1, stderr: expect.stringMatching(/no run\.json/) });
    expect(await report(at('lazy'), `${at('lazy')}/`)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/named twice/),
    });
    const unwritable = await run(
      'report',
      at('lazy'),
      '--backend',
      'reference',
      '--out',
      join(at('other.txt'), 'x.html'),
    );
    expect(unwritable).toMatchObject({ code: 1, stderr: expect.stringContaining('RUN_WRITE') });
  });
});
