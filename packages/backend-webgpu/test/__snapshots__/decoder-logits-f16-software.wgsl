enable f16;
struct Params {
  width: u32,
  vocabulary: u32,
  logitsAt: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f16>;
@group(0) @binding(3) var<storage, read> head: array<f16>;
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
var<workgroup> total4Values: array<vec4<f32>, 8>;
fn total4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  total4Values[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { total4Values[lane] = total4Values[lane] + total4Values[lane + stride]; }
    workgroupBarrier();
  }
  let result = total4Values[0];
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = group.z;
  let xAt = b * params.width;
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= params.vocabulary) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.vocabulary - 1u));
  var squares = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[xAt + j];
    squares += value * value;
  }
  let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
  var sums = vec4<f32>();
  {
    let lines = params.width;
    for (var j = lane; j < lines; j += rowThreads) {
      let value = state[xAt + j] * f32(norm[j]);
      sums += vec4<f32>(f32(head[(rows[0]) * lines + j]) * value, f32(head[(rows[1]) * lines + j]) * value, f32(head[(rows[2]) * lines + j]) * value, f32(head[(rows[3]) * lines + j]) * value);
    }
  }
  let result = total4(sums, lane) * factor;
  if (lane < 4u && first + lane < params.vocabulary) {
    state[params.logitsAt + b * params.vocabulary + first + lane] = result[lane];
  }
}
