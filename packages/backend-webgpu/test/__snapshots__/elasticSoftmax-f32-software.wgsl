struct Params {
  rows: u32,
  width: u32,
  queryLength: u32,
  heads: u32,
  window: u32,
  tauAt: u32,
  sinkAt: u32,
  hasStarts: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;
@group(0) @binding(3) var<storage, read> perHead: array<f32>;
@group(0) @binding(4) var<storage, read> starts: array<i32>;
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
var<workgroup> largestValues: array<f32, 8>;
fn largest(value: f32, lane: u32) -> f32 {
  largestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { largestValues[lane] = max(largestValues[lane], largestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = largestValues[0];
  workgroupBarrier();
  return result;
}
fn exponential(x: f32, top: f32) -> f32 {
  return select(exp(x - top), 0.0, bitcast<u32>(x) == 0xff800000u);
}
fn relu(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>(select(bits, 0u, bits - 0x80000000u <= 0x7f800000u));
}
fn sinkLogit(h: u32) -> f32 {
  let there = params.sinkAt != 4294967295u;
  return bitcast<f32>(select(0xff800000u, bitcast<u32>(perHead[select(0u, params.sinkAt + h, there)]), there));
}
fn besideTop(h: u32) -> f32 { return sinkLogit(h); }
fn besideSum(h: u32, top: f32) -> f32 {
  let logit = sinkLogit(h);
  return select(exp(logit - top), 0.0, bitcast<u32>(logit) == 0xff800000u);
}
@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  let r = row % params.queryLength;
  let h = (row / params.queryLength) % params.heads;
  let b = row / (params.queryLength * params.heads);
  var start = 0u;
  if (params.hasStarts != 0u) { start = u32(starts[b * params.queryLength + r]); }
  let end = r + params.width - params.queryLength + 1u;
  var offset = 0.0;
  if (params.tauAt != 4294967295u) { offset = perHead[params.tauAt + h] / (f32(end - start)); }
  var mine = -3.4028234663852886e38;
  var part = 0.0;
  let beside = besideTop(h);
  if (lane == 0u && bitcast<u32>(beside) != 0xff800000u) {
    mine = beside;
    part = besideSum(h, beside);
  }
  for (var begin = start + lane; begin < end; begin += 64u * rowThreads) {
    let before = mine;
    var block = 0.0;
    for (var j = begin; j < min(end, begin + 64u * rowThreads); j += rowThreads) {
      let value = f32(scores[base + j]);
      let factor = exp(-abs(value - mine));
      block = select(block + factor, block * factor + 1.0, value > mine);
      mine = max(mine, value);
    }
    part = part * exp(before - mine) + block;
  }
  let top = largest(mine, lane);
  let sum = total(part * exp(mine - top), lane);
  let poison = select(0x7fc00000u, 0u, bitcast<u32>(sum) - 0x3f000000u < 0x40800000u);
  let inverse = 1.0 / sum;
  for (var j = lane; j < params.width; j += rowThreads) {
    var w = 0.0;
    if (j >= start && j < end) {
      w = bitcast<f32>(bitcast<u32>(relu(exponential(f32(scores[base + j]), top) * inverse + offset)) | poison);
    }
    weights[base + j] = f32(w);
  }
}
