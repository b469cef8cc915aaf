const decode = 'attention_decode.cu';
const decoder = 'decoder.cu';
const sampling = 'sampling.cu';
const thin = 'thin.cu';

/** Mistakes in decoding by captured graphs, as in list.mjs. */
export const DECODING = [
  {
    name: 'decoding: keys that are not there yet are attended',
    file: decode,
    from: 'p.keys - static_cast<int>(growth.most) + 1 + step',
    to: 'p.keys',
    run: 'decoder.decode f32 several_steps',
    always: true,
  },
  {
    name: 'decoding: every step has the starts of the first',
    file: decode,
    from: 'static_cast<std::int64_t>(step) * p.batch + b',
    to: 'b',
    run: 'decoder.decode f32 sliding_starts',
  },
  {
    name: 'decoding: the step is not counted',
    file: sampling,
    from: 'p.steps[b] = step + 1;',
    to: '',
    run: 'decoder.decode f32 several_steps',
  },
  {
    name: 'drawing: of equals, one too many is kept',
    file: sampling,
    from: 'place < kept.ties',
    to: 'place <= kept.ties',
    run: 'decoder.decode f32 drawn_from_the_first_of_equals',
    always: true,
  },
  {
    name: 'drawing: the last warp sums nothing before itself',
    file: sampling,
    from: 'for (int w = 0; w < warp; ++w) total += sums[w];',
    to: '',
    run: 'decoder.decode f32 wide_vocabulary',
  },
  {
    name: 'drawing: no barrier before the sums of the warps are read',
    file: sampling,
    from: 'if (lane == 31) sums[warp] = sum;\n  __syncthreads();',
    to: 'if (lane == 31) sums[warp] = sum;',
    run: 'decoder.decode f32 wide_vocabulary',
  },
  {
    name: 'drawing: top-p keeps what is below its share',
    file: sampling,
    from: 'if (above >= goal)',
    to: 'if (above < goal)',
    run: 'decoder.decode f32 wide_vocabulary',
  },
  {
    name: 'thin products: no barrier before the sums of the warps are read',
    file: thin,
    from: '__syncthreads();\n  if (own >= batchRows',
    to: 'if (own >= batchRows',
    run: 'decoder.layer f32 one_token',
    always: true,
  },
  {
    name: 'thin products: every group of the batch has the first rows',
    file: thin,
    from: 'firstRow + r < in.batch ? firstRow + r',
    to: 'firstRow + r < in.batch ? r',
    run: 'decoder.layer f32 more_rows_than_registers',
  },
  {
    name: 'thin products: the second run of the matrix is the first again',
    file: thin,
    from: 'ahead[m] = at(matrix[m], c + threads)',
    to: 'ahead[m] = at(matrix[m], c)',
    run: 'decoder.layer f32 wide',
  },
  {
    name: 'thin products: v is rotated',
    file: thin,
    from: 'if (rotates && (at.isQuery || at.isKey))',
    to: 'if (rotates)',
    run: 'decoder.layer f32 one_token',
  },
  {
    name: 'decoder: the new keys lie one row too far',
    file: decoder,
    from: '((b * p.capacity + place) * p.kvHeads + h)',
    to: '((b * p.capacity + place + 1) * p.kvHeads + h)',
    run: 'decoder.layer f32 several_tokens',
    always: true,
  },
];
