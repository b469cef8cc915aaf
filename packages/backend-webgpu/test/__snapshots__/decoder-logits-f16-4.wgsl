enable f16;
struct Params {
  batch: u32,
  width: u32,
  vocabulary: u32,
  logitsAt: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f16>;
@group(0) @binding(3) var<storage, read> head: array<f16>;
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
  let b0 = min(group.z * 4u + 0u, params.batch - 1u);
  let b1 = min(group.z * 4u + 1u, params.batch - 1u);
  let b2 = min(group.z * 4u + 2u, params.batch - 1u);
  let b3 = min(group.z * 4u + 3u, params.batch - 1u);
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= params.vocabulary) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.vocabulary - 1u));
  var squares0 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b0 * params.width + j];
    squares0 += value * value;
  }
  let factor0 = 1.0 / sqrt(total(squares0, lane) / f32(params.width) + params.epsilon);
  var squares1 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b1 * params.width + j];
    squares1 += value * value;
  }
  let factor1 = 1.0 / sqrt(total(squares1, lane) / f32(params.width) + params.epsilon);
  var squares2 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b2 * params.width + j];
    squares2 += value * value;
  }
  let factor2 = 1.0 / sqrt(total(squares2, lane) / f32(params.width) + params.epsilon);
  var squares3 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b3 * params.width + j];
    squares3 += value * value;
  }
  let factor3 = 1.0 / sqrt(total(squares3, lane) / f32(params.width) + params.epsilon);
  var sums0 = vec4<f32>();
  var sums1 = vec4<f32>();
  var sums2 = vec4<f32>();
  var sums3 = vec4<f32>();
  {
    let lines = params.width;
    for (var j = lane; j < lines; j += rowThreads) {
      let gain = f32(norm[j]);
      let weight0 = f32(head[(rows[0]) * lines + j]);
      let weight1 = f32(head[(rows[1]) * lines + j]);
      let weight2 = f32(head[(rows[2]) * lines + j]);
      let weight3 = f32(head[(rows[3]) * lines + j]);
      let value0 = state[b0 * params.width + j] * gain;
      sums0 += vec4<f32>(weight0 * value0,weight1 * value0,weight2 * value0,weight3 * value0);
      let value1 = state[b1 * params.width + j] * gain;
      sums1 += vec4<f32>(weight0 * value1,weight1 * value1,weight2 * value1,weight3 * value1);
      let value2 = state[b2 * params.width + j] * gain;
      sums2 += vec4<f32>(weight0 * value2,weight1 * value2,weight2 * value2,weight3 * value2);
      let value3 = state[b3 * params.width + j] * gain;
      sums3 += vec4<f32>(weight0 * value3,weight1 * value3,weight2 * value3,weight3 * value3);
    }
  }
  let result0 = total4(sums0, lane) * factor0;
  if (lane < 4u && first + lane < params.vocabulary && group.z * 4u + 0u < params.batch) {
    state[params.logitsAt + b0 * params.vocabulary + first + lane] = result0[lane];
  }
  let result1 = total4(sums1, lane) * factor1;
  if (lane < 4u && first + lane < params.vocabulary && group.z * 4u + 1u < params.batch) {
    state[params.logitsAt + b1 * params.vocabulary + first + lane] = result1[lane];
  }
  let result2 = total4(sums2, lane) * factor2;
  if (lane < 4u && first + lane < params.vocabulary && group.z * 4u + 2u < params.batch) {
    state[params.logitsAt + b2 * params.vocabulary + first + lane] = result2[lane];
  }
  let result3 = total4(sums3, lane) * factor3;
  if (lane < 4u && first + lane < params.vocabulary && group.z * 4u + 3u < params.batch) {
    state[params.logitsAt + b3 * params.vocabulary + first + lane] = result3[lane];
  }
}
