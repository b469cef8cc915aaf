import type { Typed } from './elementwise.ts';
import { kernel, read, write } from './kernel.ts';
import { RANK } from './numbers.ts';

/** x of the state = the embedding of `id`, for the next token. */
const EMBED = `
  for (var j = lane; j < params.width; j += rowThreads) {
    state[b * params.width + j] = f32(embeddings[id * params.width + j]);
  }`;

/** The state's x [B, C] = the rows of the table at `tokens` [B]. Grid: x = rows. */
export const embedTokens = kernel({
  name: 'decoder/embed',
  params: { width: 'u32' },
  text: ({ type }: Typed) => ({
    buffers: { state: write('f32'), embeddings: read(type), tokens: read('i32') },
    workgroupSize: 'row',
    body: `
      let b = group.x;
      let id = u32(tokens[b]);
      ${EMBED}`,
  }),
});

/** Sums and counts over the row's logits, each invocation over a stretch of neighbouring ids, \`first\` to \`end\`. */
const HELPERS = `
  var<workgroup> shares: array<f32, rowThreads>;
  fn weightOf(logit: f32, peak: f32) -> f32 { return exp((logit - peak) / params.temperature); }
  // Sum over the lanes before this one, in order.
  fn sumBefore(value: f32, lane: u32) -> f32 {
    workgroupBarrier();
    shares[lane] = value;
    workgroupBarrier();
    var sum = 0.0;
    for (var other = 0u; other < lane; other++) { sum += shares[other]; }
    return sum;
  }`;

/** Largest rank \`t\` where the sum of \`term\` over the logits with a rank of t or more is at least \`least\`, bit by bit. */
const largestRank = (term: string, least: string): string => `
  for (var bit = 0u; bit < 32u; bit++) {
    let tried = t | (0x80000000u >> bit);
    var sum = 0.0;
    for (var j = first; j < end; j++) {
      let logit = state[base + j];
      if (rank(logit) >= tried) { sum += ${term}; }
    }
    if (total(sum, lane) >= ${least}) { t = tried; }
  }`;

/** \`above\`: sum of \`term\` over ranks above \`kept\`. */
const sumAbove = (term: string): string => `
  for (var j = first; j < end; j++) {
    let logit = state[base + j];
    if (rank(logit) > kept) { part += ${term}; }
  }`;

/** Top-k: ranks above \`kept\` stay, and of those equal to it the first \`ties\`. Counts are exact below 2^24. */
const TOP_K = `
  if (params.topK < params.vocabulary) {
    var t = 0u;
    ${largestRank('1.0', 'f32(params.topK)')}
    kept = t;
    var part = 0.0;
    ${sumAbove('1.0')}
    ties = params.topK - u32(total(part, lane));
  }`;

/** Top-p: of those, the fewest largest whose weights reach the share of all kept. */
const TOP_P = `
  if (params.topP < 1.0) {
    var part = 0.0;
    ${sumAbove('weightOf(logit, peak)')}
    let sumAboveKept = total(part, lane);
    let goal = params.topP * (sumAboveKept + select(0.0, f32(ties) * weightOf(valueOf(kept), peak), ties > 0u));
    var t = 0u;
    ${largestRank('weightOf(logit, peak)', 'goal')}
    // Where those above do not reach the share, some ties of top-k do.
    if (sumAboveKept >= goal) {
      kept = t;
      ties = params.vocabulary;
    }
    part = 0.0;
    ${sumAbove('weightOf(logit, peak)')}
    let missing = (goal - total(part, lane)) / weightOf(valueOf(kept), peak);
    ties = min(ties, u32(clamp(ceil(missing), 1.0, 16777216.0)));
  }`;

/** The id where the running sum of kept weights, in the order of ids, passes the uniform number's share of it. */
const DRAW = `
  var equal = 0.0;
  for (var j = first; j < end; j++) { equal += select(0.0, 1.0, rank(state[base + j]) == kept); }
  let tiesBefore = u32(sumBefore(equal, lane));
  var part = 0.0;
  var place = tiesBefore;
  for (var j = first; j < end; j++) {
    let logit = state[base + j];
    let mine = rank(logit);
    if (mine > kept || (mine == kept && place < ties)) { part += weightOf(logit, peak); }
    if (mine == kept) { place++; }
  }
  var running = sumBefore(part, lane);
  let wanted = uniforms[params.step * groups.x + b] * total(part, lane);
  var found = 0xffffffffu;
  place = tiesBefore;
  for (var j = first; j < end; j++) {
    let logit = state[base + j];
    let mine = rank(logit);
    if (mine > kept || (mine == kept && place < ties)) { running += weightOf(logit, peak); }
    if (mine == kept) { place++; }
    if (wanted < running) {
      found = j;
      break;
    }
  }
  // Rounding alone can lead past the last one.
  let winner = lowest(found, lane);
  if (winner != 0xffffffffu) { id = winner; }`;

/**
 * One token per row from its logits, as core's \`sampleToken\` draws it: temperature 0 takes the largest, the first of equals. A NaN
 * gives -1 - its id. Leaves the token's embedding in x. Thresholds are found bit by bit of the logits' order, so that nothing
 * is sorted. Grid: x = rows.
 */
export const sampleToken = kernel({
  name: 'decoder/sample',
  params: {
    width: 'u32',
    vocabulary: 'u32',
    logitsAt: 'u32',
    step: 'u32',
    topK: 'u32',
    topP: 'f32',
    temperature: 'f32',
  },
  text: ({ type, greedy }: Typed & { readonly greedy: boolean }) => ({
    buffers: { state: write('f32'), embeddings: read(type), uniforms: read('f32'), drawn: write('i32') },
    workgroupSize: 'row',
    reductions: greedy ? ['highest', 'lowest'] : ['total', 'highest', 'lowest'],
    declarations: RANK + (greedy ? '' : HELPERS),
    body: `
      let b = group.x;
      let base = params.logitsAt + b * params.vocabulary;
      let stretch = (params.vocabulary + rowThreads - 1u) / rowThreads;
      let first = min(lane * stretch, params.vocabulary);
      let end = min(first + stretch, params.vocabulary);
      var best = 0u;
      var bestPlace = 0u;
      for (var j = first; j < end; j++) {
        let mine = rank(state[base + j]);
        if (mine > best) {
          best = mine;
          bestPlace = j;
        }
      }
      let top = highest(best, lane);
      var id = lowest(select(0xffffffffu, bestPlace, best == top), lane);
      let nan = id;
      ${
        greedy
          ? ''
          : `let peak = valueOf(top);
      var kept = 0u;
      var ties = 0u;
      ${TOP_K}
      ${TOP_P}
      ${DRAW}`
      }
      let isNaN = top == 0xffffffffu;
      if (lane == 0u) { drawn[params.step * groups.x + b] = select(i32(id), -1 - i32(nan), isNaN); }
      ${EMBED}`,
  }),
});
