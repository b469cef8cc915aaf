/** Functions that are longer than a screen, each with the reason why it is not divided. */
export const REASONS = {
  'packages/backend-cuda/cpp/kernels/attention_decode.cu decodeValuesKernel':
    'its phases share registers and shared memory; passing them on costs registers',
  'packages/backend-cuda/cpp/kernels/attention_exact.cu exactForwardKernel':
    'its phases share registers and shared memory; passing them on costs registers',
  'packages/backend-cuda/cpp/kernels/attention_forward.cu forwardKernel':
    'its phases share registers and shared memory; passing them on costs registers',
  'packages/backend-cuda/cpp/kernels/attention_grad_wide.cu queryGradKernel':
    'its phases share registers and shared memory; passing them on costs registers',
  'packages/backend-cuda/cpp/kernels/attention_grad_wide.cu keyGradKernel':
    'its phases share registers and shared memory; passing them on costs registers',
  'packages/backend-cuda/cpp/kernels/attention_hopper.cu compute':
    'its phases share registers, and the order of its waits is the algorithm',
  'packages/native/src/ops.ts nativeOps': 'small closures over one op table, which every launch goes through',
};
