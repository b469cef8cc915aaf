struct Params {
  batch: u32,
  width: u32,
  vocabulary: u32,
  logitsAt: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> head: array<vec4<f32>>;
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
var<workgroup> total4Values: array<vec4<f32>, 64>;
fn total4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  total4Values[lane] = value;
  workgroupBarrier();
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    if (lane < stride) { total4Values[lane] = total4Values[lane] + total4Values[lane + stride]; }
    workgroupBarrier();
  }
  let result = total4Values[0];
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b0 = min(group.z * 1u + 0u, params.batch - 1u);
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= params.vocabulary) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.vocabulary - 1u));
  var squares0 = 0.0;
  for (var j = lane; j < params.width / 4u; j += rowThreads) {
    let value = vec4<f32>(state[b0 * params.width + 4u * j + 0u],state[b0 * params.width + 4u * j + 1u],state[b0 * params.width + 4u * j + 2u],state[b0 * params.width + 4u * j + 3u]);
    squares0 += dot(value, value);
  }
  let factor0 = 1.0 / sqrt(total(squares0, lane) / f32(params.width) + params.epsilon);
  var sums0 = vec4<f32>();
  {
    let lines = params.width / 4u;
    for (var j = lane; j < lines; j += rowThreads) {
      let gain = vec4<f32>(norm[j]);
      let weight0 = vec4<f32>(head[(rows[0]) * lines + j]);
      let weight1 = vec4<f32>(head[(rows[1]) * lines + j]);
      let weight2 = vec4<f32>(head[(rows[2]) * lines + j]);
      let weight3 = vec4<f32>(head[(rows[3]) * lines + j]);
      let value0 = vec4<f32>(state[b0 * params.width + 4u * j + 0u],state[b0 * params.width + 4u * j + 1u],state[b0 * params.width + 4u * j + 2u],state[b0 * params.width + 4u * j + 3u]) * gain;
      sums0 += vec4<f32>(dot(weight0, value0),dot(weight1, value0),dot(weight2, value0),dot(weight3, value0));
    }
  }
  let result0 = total4(sums0, lane) * factor0;
  if (lane < 4u && first + lane < params.vocabulary && group.z * 1u + 0u < params.batch) {
    state[params.logitsAt + b0 * params.vocabulary + first + lane] = result0[lane];
  }
}
