enable f16;
enable subgroups;
struct Params {
  rows: u32,
  width: u32,
  ignoreIndex: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f16>;
@group(0) @binding(2) var<storage, read> targets: array<i32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;
const rowThreads = 64u;
var<workgroup> totalValues: array<f32, 64>;
fn total(value: f32, lane: u32) -> f32 {
  let part = subgroupAdd(value);
  totalValues[lane] = select(0.0, part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = 0.0;
  for (var i = rank; i < 64u; i += members) { mine = mine + totalValues[i]; }
  let result = subgroupAdd(mine);
  workgroupBarrier();
  return result;
}
var<workgroup> largestValues: array<f32, 64>;
fn largest(value: f32, lane: u32) -> f32 {
  let part = subgroupMax(value);
  largestValues[lane] = select(-3.4028234663852886e38, part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = -3.4028234663852886e38;
  for (var i = rank; i < 64u; i += members) { mine = max(mine, largestValues[i]); }
  let result = subgroupMax(mine);
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var mine = -3.4028234663852886e38;
  var part = 0.0;
  for (var begin = 0u + lane; begin < params.width; begin += 64u * rowThreads) {
    let before = mine;
    var block = 0.0;
    for (var j = begin; j < min(params.width, begin + 64u * rowThreads); j += rowThreads) {
      let value = f32(logits[base + j]);
      let factor = exp(-abs(value - mine));
      block = select(block + factor, block * factor + 1.0, value > mine);
      mine = max(mine, value);
    }
    part = part * exp(before - mine) + block;
  }
  let top = largest(mine, lane);
  let sum = total(part * exp(mine - top), lane);
  let poison = select(0x7fc00000u, 0u, bitcast<u32>(sum) - 0x3f000000u < 0x40800000u);
  if (lane == 0u) {
    let logSum = log(sum);
    let wanted = targets[row];
    lse[row] = bitcast<f32>(bitcast<u32>((top + logSum)) | poison);
    var loss = 0.0;
    if (wanted != bitcast<i32>(params.ignoreIndex)) {
      loss = bitcast<f32>(bitcast<u32>(((top - f32(logits[base + u32(wanted)])) + logSum)) | poison);
    }
    losses[row] = loss;
  }
}
