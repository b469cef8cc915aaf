import { runConformance } from '@lazy-attention/conformance/vitest';
import { Backend, BackendUnavailableError } from '@lazy-attention/core';
import { describe, test } from 'vitest';
import { INSTRUCTION_SETS, provider } from '../src/index.ts';

// Every build of the kernels that this processor runs; the others are listed as skipped.
for (const isa of INSTRUCTION_SETS) {
  const reason = await whyNot(isa);
  if (reason === null) {
    runConformance(`cpu (${isa})`, async () => new Backend(await provider.create({ isa })), {
      dtypes: ['f32', 'bf16'],
    });
  } else {
    describe(`conformance of cpu (${isa})`, () => {
      test('runs here', (context) => context.skip(reason));
    });
  }
}

async function whyNot(isa: string): Promise<string | null> {
  try {
    await (await provider.create({ isa })).dispose();
    return null;
  } catch (error) {
    if (error instanceof BackendUnavailableError && error.reason.includes('instruction set')) return error.reason;
    throw error;
  }
}
