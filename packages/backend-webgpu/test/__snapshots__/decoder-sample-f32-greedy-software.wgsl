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
  let isNaN = top == 0xffffffffu;
  if (lane == 0u) { drawn[params.step * groups.x + b] = select(i32(id), -1 - i32(nan), isNaN); }
  for (var j = lane; j < params.width; j += rowThreads) {
    state[b * params.width + j] = f32(embeddings[id * params.width + j]);
  }
}
