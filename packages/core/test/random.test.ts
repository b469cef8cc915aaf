import { expect, it } from 'vitest';
import { normal, shuffledOrder, uniform, uniformOf } from '../src/index.ts';

/** Runs are resumed and models initialised by these numbers: they must never change. */
it('the streams are those of every release', () => {
  const named = uniform(42, 'sample');
  expect([named(), named(), named()]).toEqual([0.4215834514829956, 0.541595973314275, 0.43249048873549756]);
  const large = uniform(2 ** 52 + 3);
  expect([large(), large()]).toEqual([0.11089625555135318, 0.19196498371399884]);
  expect([...normal(3, 0.02, uniform(7))]).toEqual([0.015174526397957877, -0.020989986026982974, 0.0235534679429986]);
  const keyed = uniformOf([-879905648, -1651501317, 363395668, -1847631945]);
  expect([keyed(), keyed(), keyed()]).toEqual([0.9817358984546251, 0.5239473913895452, 0.5863254846138304]);
  const order = shuffledOrder(9, uniformOf([2044046625, 800601840, 1954406188, -680509731]));
  expect([...order]).toEqual([7, 3, 2, 5, 8, 6, 4, 0, 1]);
});
