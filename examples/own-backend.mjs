// A backend of one's own: the kernels of the reference, but for one. docs/writing-a-backend.md says what a kernel may do.
import { provider as reference } from '@lazy-attention/backend-reference';
import { createBackend, registerBackend } from '@lazy-attention/core';

let products = 0;
registerBackend({
  name: 'counting',
  probe: async () => ({ available: true, device: 'the reference, counted', reason: 'it always works' }),
  async create(options) {
    const kernels = await reference.create(options);
    return {
      ...kernels,
      name: 'counting',
      matmul(...operands) {
        products++;
        return kernels.matmul(...operands);
      },
    };
  },
});

const backend = await createBackend('counting');
const a = backend.tensor([1, 2, 3, 4], [2, 2]);
console.log(backend.name, await backend.matmul(a, backend.matmul(a, a)).data(), `${products} products`);
await backend.dispose();
