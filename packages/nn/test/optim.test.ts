import type { Backend, Tensor } from '@lazy-attention/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AdamWConfig, adamW, cosineSchedule, decaysByDefault, lazyTransformer, preset } from '../src/index.ts';
import { noise, numbers, reference, relativeError, scalar } from './helpers.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await reference();
});
afterAll(() => backend.dispose());

describe('cosineSchedule', () => {
  it('warms up, falls along half a cosine, and stays at the floor', () => {
    const rate = cosineSchedule({ peak: 2, warmupSteps: 4, steps: 12, floor: 0.25 });
    expect([1, 2, 4, 6, 8, 10, 12, 99].map(rate)).toEqual([
      0.5,
      1,
      2,
      0.5 + 0.75 * (1 + Math.cos(Math.PI / 4)),
      1.25,
      expect.closeTo(0.5 + 0.75 * (1 - Math.SQRT1_2), 12),
      0.5,
      0.5,
    ]);
  });
  it('works without warm-up and with nothing else', () => {
    expect(cosineSchedule({ peak: 1, steps: 1 })(1)).toBe(0.1);
    expect(cosineSchedule({ peak: 1, steps: 5, warmupSteps: 5, floor: 0 })(5)).toBe(1);
  });
  it.each([
    { peak: 0, steps: 1 },
    { peak: 1, steps: 0 },
    { peak: 1, steps: 5, warmupSteps: 6 },
    { peak: 1, steps: 5, floor: 2 },
  ])('refuses %o', (options) => expect(() => cosineSchedule(options)).toThrowErrorMatchingSnapshot());
  it('refuses step 0', () =>
    expect(() => cosineSchedule({ peak: 1, steps: 5 })(0)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: cosineSchedule: step is 0; expected an integer from 1]`,
    ));
});

describe('adamW', () => {
  /** The formula, by hand, for three steps with these gradients. */
  function byHand(
    start: number[],
    gradients: number[][],
    config: { decay: number; maxNorm: number | null; rate: number },
  ) {
    const [beta1, beta2, epsilon] = [0.9, 0.95, 1e-8];
    const p = [...start];
    const m = p.map(() => 0);
    const v = p.map(() => 0);
    for (const [step, raw] of gradients.entries()) {
      const norm = Math.sqrt(raw.reduce((sum, g) => sum + g * g, 0));
      const factor = config.maxNorm === null ? 1 : Math.min(1, config.maxNorm / (norm + 1e-6));
      for (let i = 0; i < p.length; i++) {
        const g = raw[i] * factor;
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        p[i] -= config.rate * config.decay * p[i];
        const mHat = m[i] / (1 - beta1 ** (step + 1));
        const vHat = v[i] / (1 - beta2 ** (step + 1));
        p[i] -= (config.rate * mHat) / (Math.sqrt(vHat) + epsilon);
      }
    }
    return p;
  }

  it.each<[string, AdamWConfig, number, number | null]>([
    ['with its defaults', {}, 0.1, 1],
    ['without clipping or decay', { maxNorm: null, weightDecay: 0 }, 0, null],
    ['with a norm that is not reached', { maxNorm: 100 }, 0.1, 100],
  ])('follows the formula %s', async (_, config, decay, maxNorm) => {
    const w = noise(backend, [2, 3], 1);
    const start = await numbers(w);
    const grads = [2, 3, 4].map((seed) => noise(backend, [2, 3], seed));
    const optimizer = adamW(backend, { 'x.weight': w }, config);
    for (const grad of grads) {
      const { gradNormSquared } = optimizer.step({ 'x.weight': grad }, 0.05);
      const expected = (await numbers(grad)).reduce((sum, g) => sum + g * g, 0);
      expect(await scalar(gradNormSquared)).toBeCloseTo(expected, 12);
    }
    const expected = byHand(start, await Promise.all(grads.map(numbers)), { decay, maxNorm, rate: 0.05 });
    expect(relativeError(await numbers(w), expected)).toBeLessThan(1e-12);
    expect(optimizer.steps).toBe(3);
  });

  it('goes on from its state exactly', async () => {
    const run = async (resumeAt: number) => {
      const params = { 'a.weight': noise(backend, [2, 3], 1), tau: noise(backend, [3], 2) };
      let optimizer = adamW(backend, params);
      for (let n = 0; n < 6; n++) {
        if (n === resumeAt) {
          const copy = (tensors: Readonly<Record<string, Tensor>>) =>
            Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, backend.scale(tensor, 1)]));
          const { steps, m, v } = optimizer.state();
          const state = { steps, m: copy(m), v: copy(v) };
          optimizer.dispose();
          optimizer = adamW(backend, params, { state });
        }
        optimizer.step({ 'a.weight': noise(backend, [2, 3], n), tau: noise(backend, [3], 50 + n) }, 0.01);
      }
      return [await numbers(params['a.weight']), await numbers(params.tau)];
    };
    expect(await run(3)).toEqual(await run(-1));
  });

  it('decays matrices and embeddings, not norms, bias and tau', () => {
    const { shapes } = lazyTransformer(preset('pico', { numLayers: 1 }));
    const decaying = Object.keys(shapes).filter((name) => decaysByDefault(name, backend.zeros(shapes[name])));
    expect(decaying).toEqual(Object.keys(shapes).filter((name) => /proj\.weight|embeddings|lm_head/.test(name)));
  });

  it('refuses what does not fit', () => {
    const params = { w: noise(backend, [2], 1) };
    const state = { steps: 1, m: { w: noise(backend, [3], 1) }, v: { w: noise(backend, [2], 1) } };
    expect(() => adamW(backend, {})).toThrowErrorMatchingInlineSnapshot(`[ValueError: adamW: params is empty]`);
    expect(() => adamW(backend, params, { lr: 1 } as AdamWConfig)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: adamW: unknown option 'lr'; expected beta1, beta2, epsilon, weightDecay, maxNorm, decays, state, stateDType, multiples]`,
    );
    expect(() => adamW(backend, params, { weightDecay: -1 })).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: adamW: weightDecay is -1; expected a number from 0]`,
    );
    expect(() => adamW(backend, params, { maxNorm: 0 })).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: adamW: maxNorm is 0; expected a positive number, or null for no clipping]`,
    );
    expect(() => adamW(backend, params, { state })).toThrowErrorMatchingInlineSnapshot(
      `[ShapeError: adamW: state.m['w'] has shape [3]; the parameter has [2]]`,
    );
    const optimizer = adamW(backend, params);
    expect(() => optimizer.step({}, 1)).toThrowErrorMatchingInlineSnapshot(`[ValueError: adamW: grads lacks w]`);
    expect(() => optimizer.step({ ...params, x: params.w }, 1)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: adamW: grads has x, which are no parameters]`,
    );
    const before = backend.memory().tensors;
    expect(() => optimizer.step(params, Number.NaN)).toThrowErrorMatchingInlineSnapshot(
      `[ValueError: adamw: learningRate is NaN; expected a finite number]`,
    );
    expect(backend.memory().tensors).toBe(before);
    expect(optimizer.steps).toBe(0);
  });

  it('keeps m and v in bf16, within its rounding of the whole', async () => {
    const make = () => ({ w: noise(backend, [40, 30], 1), tau: noise(backend, [8], 2) });
    const [wide, narrow] = [make(), make()];
    const optimizers = [adamW(backend, wide), adamW(backend, narrow, { stateDType: 'bf16' })];
    for (let step = 1; step <= 20; step++) {
      const grads = { w: noise(backend, [40, 30], step + 7), tau: noise(backend, [8], step + 77) };
      for (const optimizer of optimizers) optimizer.step(grads, 1e-2).gradNormSquared.dispose();
      for (const grad of Object.values(grads)) grad.dispose();
    }
    for (const name of ['w', 'tau'] as const) {
      expect(optimizers[1].state().m[name].dtype).toBe('bf16');
      const [a, b] = [await narrow[name].data(), await wide[name].data()];
      expect(relativeError(a, b)).toBeLessThan(1e-2);
      expect(relativeError(a, b)).toBeGreaterThan(0);
    }
    const widened = adamW(backend, narrow, { state: optimizers[1].state() });
    expect(widened.state().v.w.dtype).toBe('f64');
  });

  it('multiplies the rate of some parameters, and freezes them at 0', async () => {
    const make = () => ({ w: noise(backend, [4], 1), tau: noise(backend, [4], 1) });
    const [params, fast] = [make(), make()];
    const multiples = (name: string, step: number) => (name !== 'tau' ? 1 : step > 2 ? 0 : 10);
    const optimizer = adamW(backend, params, { multiples, maxNorm: null });
    const other = adamW(backend, fast, { maxNorm: null });
    for (let step = 1; step <= 3; step++) {
      const grads = { w: noise(backend, [4], step + 7), tau: noise(backend, [4], step + 7) };
      optimizer.step(grads, 1e-3).gradNormSquared.dispose();
      if (step <= 2) other.step(grads, 1e-2).gradNormSquared.dispose();
    }
    expect(await numbers(params.tau)).toEqual(await numbers(fast.tau));
    expect(await numbers(params.w)).not.toEqual(await numbers(fast.w));
    const wrong = adamW(backend, make(), { multiples: () => -1 });
    expect(() => wrong.step(make(), 1)).toThrow("adamW: multiples('w', 1) is -1; expected a number from 0");
  });
});
