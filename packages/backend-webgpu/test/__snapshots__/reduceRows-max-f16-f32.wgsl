enable f16;
struct Params {
  results: u32,
  length: u32,
  inner: u32,
  splits: u32,
  perSplit: u32,
  divisor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
const rowThreads = 64u;
var<workgroup> highestValues: array<u32, 64>;
fn highest(value: u32, lane: u32) -> u32 {
  highestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    if (lane < stride) { highestValues[lane] = max(highestValues[lane], highestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = highestValues[0];
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
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = group.y * groups.x + group.x;
  if (i >= params.results) { return; }
  let split = (i / params.inner) % params.splits;
  let first = split * params.perSplit;
  let end = min(first + params.perSplit, params.length);
  let base = i / (params.inner * params.splits) * params.length * params.inner + i % params.inner;
  var best = 0u;
  for (var j = first + lane; j < end; j += rowThreads) {
    let value = f32(x[base + j]);
    best = max(best, rank(value));
  }
  best = highest(best, lane);
  if (lane == 0u) { out[i] = f32(valueOf(best)); }
}
