struct Params {
  width: u32,
  vocabulary: u32,
  logitsAt: u32,
  step: u32,
  topK: u32,
  topP: f32,
  temperature: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> embeddings: array<f32>;
@group(0) @binding(3) var<storage, read> uniforms: array<f32>;
@group(0) @binding(4) var<storage, read_write> drawn: array<i32>;
const rowThreads = 8u;
var<workgroup> totalValues: array<f32, 8>;
fn total(value: f32, lane: u32) -> f32 {
  totalValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { totalValues[lane] = totalValues[lane] + totalValues[lane + stride]; }
    workgroupBarrier();
  }
  let result = totalValues[0];
  workgroupBarrier();
  return result;
}
var<workgroup> highestValues: array<u32, 8>;
fn highest(value: u32, lane: u32) -> u32 {
  highestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { highestValues[lane] = max(highestValues[lane], highestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = highestValues[0];
  workgroupBarrier();
  return result;
}
var<workgroup> lowestValues: array<u32, 8>;
fn lowest(value: u32, lane: u32) -> u32 {
  lowestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { lowestValues[lane] = min(lowestValues[lane], lowestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = lowestValues[0];
  workgroupBarrier();
  return result;
}
fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn valueOf(rank: u32) -> f32 {
  return bitcast<f32>(select(~rank, rank & 0x7fffffffu, rank >= 0x80000000u));
}
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
}
@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
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
  let peak = valueOf(top);
  var kept = 0u;
  var ties = 0u;
  if (params.topK < params.vocabulary) {
    var t = 0u;
    for (var bit = 0u; bit < 32u; bit++) {
      let tried = t | (0x80000000u >> bit);
      var sum = 0.0;
      for (var j = first; j < end; j++) {
        let logit = state[base + j];
        if (rank(logit) >= tried) { sum += 1.0; }
      }
      if (total(sum, lane) >= f32(params.topK)) { t = tried; }
    }
    kept = t;
    var part = 0.0;
    for (var j = first; j < end; j++) {
      let logit = state[base + j];
      if (rank(logit) > kept) { part += 1.0; }
    }
    ties = params.topK - u32(total(part, lane));
  }
  if (params.topP < 1.0) {
    var part = 0.0;
    for (var j = first; j < end; j++) {
      let logit = state[base + j];
      if (rank(logit) > kept) { part += weightOf(logit, peak); }
    }
    let sumAboveKept = total(part, lane);
    let goal = params.topP * (sumAboveKept + select(0.0, f32(ties) * weightOf(valueOf(kept), peak), ties > 0u));
    var t = 0u;
    for (var bit = 0u; bit < 32u; bit++) {
      let tried = t | (0x80000000u >> bit);
      var sum = 0.0;
      for (var j = first; j < end; j++) {
        let logit = state[base + j];
        if (rank(logit) >= tried) { sum += weightOf(logit, peak); }
      }
      if (total(sum, lane) >= goal) { t = tried; }
    }
    // Where those above do not reach the share, some ties of top-k do.
    if (sumAboveKept >= goal) {
      kept = t;
      ties = params.vocabulary;
    }
    part = 0.0;
    for (var j = first; j < end; j++) {
      let logit = state[base + j];
      if (rank(logit) > kept) { part += weightOf(logit, peak); }
    }
    let missing = (goal - total(part, lane)) / weightOf(valueOf(kept), peak);
    ties = min(ties, u32(clamp(ceil(missing), 1.0, 16777216.0)));
  }
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
  if (winner != 0xffffffffu) { id = winner; }
  let isNaN = top == 0xffffffffu;
  if (lane == 0u) { drawn[params.step * groups.x + b] = select(i32(id), -1 - i32(nan), isNaN); }
  for (var j = lane; j < params.width; j += rowThreads) {
    state[b * params.width + j] = f32(embeddings[id * params.width + j]);
  }
}
