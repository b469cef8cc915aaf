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
var<workgroup> totalValues: array<f32, 64>;
fn total(value: f32, lane: u32) -> f32 {
  totalValues[lane] = value;
  workgroupBarrier();
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    if (lane < stride) { totalValues[lane] = totalValues[lane] + totalValues[lane + stride]; }
    workgroupBarrier();
  }
  let result = totalValues[0];
  workgroupBarrier();
  return result;
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
  var sum = 0.0;
  for (var j = first + lane; j < end; j += rowThreads) {
    let value = f32(x[base + j]);
    sum += value;
  }
  sum = total(sum, lane);
  if (lane == 0u) { out[i] = f32(sum / params.divisor); }
}
