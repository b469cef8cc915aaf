struct Params {
  rows: u32,
  width: u32,
  ignoreIndex: u32,
  inverseCount: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dLoss: array<f32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<i32>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>;
const rowThreads = 8u;
fn exponential(x: f32, top: f32) -> f32 {
  return select(exp(x - top), 0.0, bitcast<u32>(x) == 0xff800000u);
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
  let wanted = targets[row];
  let ignored = wanted == bitcast<i32>(params.ignoreIndex);
  let factor = dLoss[0] * params.inverseCount;
  let rowLse = lse[row];
  let poison = select(0u, 0x7fc00000u, (bitcast<u32>(rowLse) & 0x7fffffffu) >= 0x7f800000u);
  for (var j = lane; j < params.width; j += rowThreads) {
    let p = bitcast<f32>(bitcast<u32>(exponential(f32(logits[base + j]), rowLse)) | poison);
    let gradient = factor * (p - select(0.0, 1.0, i32(j) == wanted));
    dlogits[base + j] = f32(select(gradient, 0.0, ignored));
  }
}
