import { describe } from 'vitest';
import { testKindsOn } from '../../nn/test/kinds-on.ts';
import { open, unavailable } from './support.ts';

describe.skipIf(unavailable !== null)(`kinds of attention${unavailable === null ? '' : `: ${unavailable}`}`, () => {
  testKindsOn('webgpu', async () => (await open()).backend);
});
