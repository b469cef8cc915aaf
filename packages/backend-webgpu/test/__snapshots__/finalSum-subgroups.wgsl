enable subgroups;
struct Params {
  count: u32,
  factor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
var<workgroup> totalValues: array<f32, 256>;
fn total(value: f32, lane: u32) -> f32 {
  let part = subgroupAdd(value);
  totalValues[lane] = select(0.0, part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = 0.0;
  for (var i = rank; i < 256u; i += members) { mine = mine + totalValues[i]; }
  let result = subgroupAdd(mine);
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var sum = 0.0;
  for (var i = lane; i < params.count; i += 256u) { sum += partial[i]; }
  let all = total(sum, lane);
  if (lane == 0u) { result[0] = params.factor * all; }
}
