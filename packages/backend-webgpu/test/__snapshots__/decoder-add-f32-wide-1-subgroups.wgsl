enable subgroups;
struct Params {
  batch: u32,
  width: u32,
  length: u32,
  inputAt: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
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
  let b0 = min(group.z * 1u + 0u, params.batch - 1u);
  let first = (group.y * groups.x + group.x) * 4u;
  if (first >= params.width) { return; }
  let rows = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.width - 1u));
  var sums0 = vec4<f32>();
  {
    let lines = params.length / 4u;
    for (var j = lane; j < lines; j += rowThreads) {
      let weight0 = vec4<f32>(weight[(rows[0]) * lines + j]);
      let weight1 = vec4<f32>(weight[(rows[1]) * lines + j]);
      let weight2 = vec4<f32>(weight[(rows[2]) * lines + j]);
      let weight3 = vec4<f32>(weight[(rows[3]) * lines + j]);
      let value0 = vec4<f32>(state[params.inputAt + b0 * params.length + 4u * j + 0u],state[params.inputAt + b0 * params.length + 4u * j + 1u],state[params.inputAt + b0 * params.length + 4u * j + 2u],state[params.inputAt + b0 * params.length + 4u * j + 3u]);
      sums0 += vec4<f32>(dot(weight0, value0),dot(weight1, value0),dot(weight2, value0),dot(weight3, value0));
    }
  }
  let result0 = total4(sums0, lane);
  if (lane < 4u && first + lane < params.width && group.z * 1u + 0u < params.batch) {
    state[b0 * params.width + first + lane] += result0[lane];
  }
}
