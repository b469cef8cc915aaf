import { runConformance } from '@lazy-attention/conformance/vitest';
import { describe, test } from 'vitest';
import { hasF16, open, unavailable } from './support.ts';

// On a software driver the compilation of shaders takes nearly all of the time; 'small' has fewer random problems.
const size = process.env.LAZY_ATTENTION_CONFORMANCE_SIZE === 'full' ? 'full' : 'small';

if (unavailable === null) {
  runConformance('webgpu', async () => (await open()).backend, {
    dtypes: hasF16 ? ['f32', 'f16'] : ['f32'],
    size,
    timeoutMs: 240_000,
  });
} else {
  describe('conformance of webgpu', () => {
    test('runs here', (context) => context.skip(unavailable ?? undefined));
  });
}
