struct Params {
  rows: u32,
  width: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<storage, read_write> factors: array<f32>;
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
@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;
  var squares = 0.0;
  var products = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = f32(x[base + j]);
    squares += value * value;
    products += f32(dy[base + j]) * f32(weight[j]) * value;
  }
  let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
  let pull = total(products, lane) / f32(params.width) * factor * factor;
  for (var j = lane; j < params.width; j += rowThreads) {
    dx[base + j] = f32(factor * (f32(dy[base + j]) * f32(weight[j]) - f32(x[base + j]) * pull));
  }
  if (lane == 0u) { factors[row] = factor; }
}
