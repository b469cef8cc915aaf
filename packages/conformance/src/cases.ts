import type { Backend, FloatDType } from '@lazy-attention/core';
import {
  type Case,
  type ConformanceOptions,
  caseName,
  type Direction,
  type Op,
  type Size,
  TOLERANCES,
  type Tolerance,
} from './case.ts';
import { assertIdentical, ConformanceError, type Results } from './compare.ts';
import { assertAgrees, evaluate } from './evaluate.ts';
import { linearityProblem } from './properties.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios.ts';
import { attentionScenarios } from './suites/attention.ts';
import type { AttentionSpec } from './suites/attention-problem.ts';
import { decodings } from './suites/decode.ts';
import { decoderLayers } from './suites/decoder-layer.ts';
import { equalities } from './suites/equalities.ts';
import { errors } from './suites/errors.ts';
import { memory } from './suites/memory.ts';
import { notANumber } from './suites/not-a-number.ts';
import { packedWeights } from './suites/packed.ts';

/**
 * Every test for these options. A test's name says the op (with `Grad` for its gradient), the type and what is special:
 * 'attentionGrad f32 window_of_one'.
 */
export function conformanceCases(options: ConformanceOptions = {}): Case[] {
  const { dtypes = ['f32'], size = 'full' } = options;
  const tolerances = { ...TOLERANCES, ...options.tolerance };
  const cases: Case[] = [declaredTypes(dtypes)];
  for (const dtype of dtypes) {
    const tolerance = tolerances[dtype];
    cases.push(...scenarios.flatMap((scenario) => againstReference(scenario, dtype, size, tolerance)));
    cases.push(...equalities(dtype, tolerance), ...decoderLayers(dtype, tolerance), ...decodings(dtype, tolerance));
    cases.push(...notANumber(dtype, tolerance), ...packedWeights(dtype, tolerance));
  }
  cases.push(...properties(size, tolerances.f32), ...errors, ...memory);
  return cases;
}

/**
 * Tests of attention on problems of one's own, by name, forward and backward against the reference: for a backend whose
 * tiles have borders that the shared suite cannot know.
 */
export function attentionCases(
  specs: Readonly<Record<string, AttentionSpec>>,
  options: Omit<ConformanceOptions, 'size'> = {},
): Case[] {
  const { dtypes = ['f32'], tolerance } = options;
  const tolerances = { ...TOLERANCES, ...tolerance };
  return dtypes.flatMap((dtype) =>
    attentionScenarios(specs).flatMap((scenario) => againstReference(scenario, dtype, 'full', tolerances[dtype])),
  );
}

function againstReference(scenario: Scenario, dtype: FloatDType, size: Size, tolerance: Tolerance): Case[] {
  if (scenario.dtypes !== undefined && !scenario.dtypes.includes(dtype)) return [];
  return directions(scenario).map((direction) => ({
    ...caseOf(scenario.op, scenario.name, direction, dtype),
    run: (backend) =>
      scenario.each(dtype, size, (problem) => assertAgrees(backend, problem, dtype, direction, tolerance)),
  }));
}

/** What is asked once per op and direction, on its random shapes in f32. */
function properties(size: Size, tolerance: Tolerance): Case[] {
  const firstOfOp = scenarios.filter((scenario, i) => scenarios.findIndex(({ op }) => op === scenario.op) === i);
  return firstOfOp.flatMap((scenario) =>
    directions(scenario).flatMap((direction) => {
      const repeat = caseOf(scenario.op, 'repeats_bit_for_bit', direction, 'f32');
      const cases: Case[] = [{ ...repeat, run: (backend) => assertRepeats(backend, scenario, direction) }];
      if (direction === 'backward') {
        const linear = caseOf(scenario.op, 'linear_in_dy', direction, 'f32');
        cases.push({
          ...linear,
          run: (backend) =>
            scenario.each('f32', size, async (problem) => {
              await assertAgrees(backend, linearityProblem(problem), 'f32', 'backward', tolerance);
            }),
        });
      }
      return cases;
    }),
  );
}

async function assertRepeats(backend: Backend, scenario: Scenario, direction: Direction): Promise<void> {
  await scenario.each('f32', 'small', async (problem) => {
    const runs: Results[] = [];
    for (let i = 0; i < 2; i++) runs.push(await evaluate(backend, problem, 'f32', direction));
    assertIdentical(`${scenario.op} ${direction}`, runs[0], runs[1]);
  });
}

/** A type that a backend declares but is not tested on is a claim without proof. */
function declaredTypes(dtypes: readonly FloatDType[]): Case {
  return {
    ...caseOf('tensor', 'declared_types_are_the_tested_ones', 'forward', 'f32'),
    run: async (backend) => {
      const declared = [...backend.dtypes].filter((dtype) => dtype !== 'i32').sort();
      const tested = dtypes.toSorted();
      if (declared.join() !== tested.join()) {
        throw new ConformanceError(
          `backend '${backend.name}' declares ${declared.join(', ')} but conformance runs on ${tested.join(', ')}; give runConformance all declared types as dtypes`,
        );
      }
    },
  };
}

function directions({ differentiable }: Scenario): Direction[] {
  return differentiable ? ['forward', 'backward'] : ['forward'];
}

export function caseOf(op: Op, name: string, direction: Direction, dtype: FloatDType): Omit<Case, 'run'> {
  return { name: caseName(op, name, direction, dtype), op, direction, dtype };
}
