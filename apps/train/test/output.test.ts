import { describe, expect, it } from 'vitest';
import { barLine } from '../src/output/bar.ts';
import { visible } from '../src/output/format.ts';
import type { EvalMetric, TrainMetric } from '../src/run/metrics.ts';
import { watchRising } from '../src/training/rising.ts';

const PARTS = ['loss 2.3456', '12:34 left', '12,345 tokens/s', 'lr 0.00300'];

describe('the bar', () => {
  it('fits every width from 20 to 200 columns, and always has the count', () => {
    for (let columns = 20; columns <= 200; columns++) {
      const line = barLine(columns, 1234, 10_000, PARTS);
      expect(line.length).toBeLessThan(columns);
      expect(line).toContain('1234/10000');
    }
  });

  it('says more where there is more room, the loss first and the learning rate last', () => {
    expect(barLine(20, 1, 2000, PARTS)).toBe('1/2000  loss 2.3456');
    expect(barLine(24, 1000, 2000, [])).toBe(`${'█'.repeat(7)}${'░'.repeat(6)} 1000/2000`);
    expect(barLine(34, 1000, 2000, PARTS)).toBe('█████░░░░░ 1000/2000  loss 2.3456');
    expect(barLine(120, 1000, 2000, PARTS)).toMatch(/^█+░+ 1000\/2000 {2}loss .* left {2}.* tokens\/s {2}lr 0\.00300$/);
  });

  it('is full at the end, and no wider than it need be', () => {
    expect(barLine(200, 7, 7, [])).toBe(`${'█'.repeat(40)} 7/7`);
    expect(barLine(20, 0, 0, [])).not.toContain('NaN');
  });
});

it('what a model writes cannot speak to the terminal', () => {
  expect(visible('a\u001b[2J\u0007\r\u007f\u009bé\n\tz')).toBe('a␛[2J␇␍␡␡é\n\tz');
});

/** Losses of steps 1, 2, ... with a little noise that does not change from run to run. */
function told(loss: (step: number) => number, steps: number): string[] {
  const said: string[] = [];
  const watch = watchRising((line) => said.push(line));
  for (let step = 1; step <= steps; step++) {
    const noise = 0.2 * Math.sin(step * 12.9898);
    watch.onStep({ type: 'train', step, loss: loss(step) + noise, learningRate: 0.003 } as TrainMetric);
  }
  return said;
}

describe('a rising loss', () => {
  it('warns once, with the losses and what to try', () => {
    const said = told((step) => (step < 500 ? 4 - step / 250 : 2 + (step - 500) / 200), 2000);
    expect(said).toEqual([expect.stringMatching(/^Warning: the training loss rises: 2\.\d+ .* smaller --lr/)]);
  });

  it('one that falls, stays or only jumps once says nothing', () => {
    expect(told((step) => 4 / Math.sqrt(step), 3000)).toEqual([]);
    expect(told(() => 2, 3000)).toEqual([]);
    expect(told((step) => (step > 1000 && step < 1040 ? 6 : 2), 3000)).toEqual([]);
  });

  it('on held-out text it means learning by heart', () => {
    const said: string[] = [];
    const watch = watchRising((line) => said.push(line));
    const losses = [3, 2, 1.5, 1.55, 1.6, 1.7, 1.9];
    for (const [i, loss] of losses.entries()) {
      watch.onEval({ type: 'eval', step: 100 * i, on: 'validation', loss } as EvalMetric);
    }
    expect(said).toEqual([expect.stringMatching(/^Warning: the validation loss rises: 1\.500 at step 200, 1\.700 at/)]);
  });
});
