import { Backend } from '@lazy-attention/core';
import { testKindsOn } from '../../nn/test/kinds-on.ts';
import { provider } from '../src/index.ts';

testKindsOn('cpu', async () => new Backend(await provider.create({})));
