enable f16;
enable subgroups;
struct Params {
  batch: u32,
  width: u32,
  length: u32,
  inputAt: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f16>;
const rowThreads = 64u;
var<workgroup> total4Values: array<vec4<f32>, 64>;
fn total4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  let part = subgroupAdd(value);
  total4Values[lane] = select(vec4<f32>(), part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = vec4<f32>();
  for (var i = rank; i < 64u; i += members) { mine = mine + total4Values[i]; }
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
  let b0 = min(group.z * 4u + 0u, params.batch - 1u);
  let b1 = min(group.z * 4u + 1u, params.batch - 1u);
  let b2 = min(group.z * 4u + 2u, params.batch - 1u);
  let b3 = min(group.z * 4u + 3u, params.batch - 1u);
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= params.width) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.width - 1u));
  var sums0 = vec4<f32>();
  var sums1 = vec4<f32>();
  var sums2 = vec4<f32>();
  var sums3 = vec4<f32>();
  {
    let lines = params.length;
    for (var j = lane; j < lines; j += rowThreads) {
      let weight0 = f32(weight[(rows[0]) * lines + j]);
      let weight1 = f32(weight[(rows[1]) * lines + j]);
      let weight2 = f32(weight[(rows[2]) * lines + j]);
      let weight3 = f32(weight[(rows[3]) * lines + j]);
      let value0 = state[params.inputAt + b0 * params.length + j];
      sums0 += vec4<f32>(weight0 * value0,weight1 * value0,weight2 * value0,weight3 * value0);
      let value1 = state[params.inputAt + b1 * params.length + j];
      sums1 += vec4<f32>(weight0 * value1,weight1 * value1,weight2 * value1,weight3 * value1);
      let value2 = state[params.inputAt + b2 * params.length + j];
      sums2 += vec4<f32>(weight0 * value2,weight1 * value2,weight2 * value2,weight3 * value2);
      let value3 = state[params.inputAt + b3 * params.length + j];
      sums3 += vec4<f32>(weight0 * value3,weight1 * value3,weight2 * value3,weight3 * value3);
    }
  }
  let result0 = total4(sums0, lane);
  if (lane < 4u && first + lane < params.width && group.z * 4u + 0u < params.batch) {
    state[b0 * params.width + first + lane] += result0[lane];
  }
  let result1 = total4(sums1, lane);
  if (lane < 4u && first + lane < params.width && group.z * 4u + 1u < params.batch) {
    state[b1 * params.width + first + lane] += result1[lane];
  }
  let result2 = total4(sums2, lane);
  if (lane < 4u && first + lane < params.width && group.z * 4u + 2u < params.batch) {
    state[b2 * params.width + first + lane] += result2[lane];
  }
  let result3 = total4(sums3, lane);
  if (lane < 4u && first + lane < params.width && group.z * 4u + 3u < params.batch) {
    state[b3 * params.width + first + lane] += result3[lane];
  }
}
