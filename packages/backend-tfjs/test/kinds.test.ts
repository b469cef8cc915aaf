import { provider } from '@lazy-attention/backend-tfjs';
import { Backend } from '@lazy-attention/core';
import { testKindsOn } from '../../nn/test/kinds-on.ts';

testKindsOn('tfjs wasm', async () => new Backend(await provider.create({ engine: 'wasm' })));
