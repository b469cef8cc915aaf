enable f16;
enable subgroups;
struct Params {
  rows: u32,
  width: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read> weight: array<f16>;
@group(0) @binding(3) var<storage, read_write> y: array<f16>;
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
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var squares = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = f32(x[base + j]);
    squares += value * value;
  }
  let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
  for (var j = lane; j < params.width; j += rowThreads) {
    y[base + j] = f16(f32(x[base + j]) * factor * f32(weight[j]));
  }
}
