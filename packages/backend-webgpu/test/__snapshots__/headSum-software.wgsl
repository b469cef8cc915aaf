struct Params {
  first: u32,
  step: u32,
  batch: u32,
  heads: u32,
  length: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> terms: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
var<workgroup> totalValues: array<f32, 256>;
fn total(value: f32, lane: u32) -> f32 {
  totalValues[lane] = value;
  workgroupBarrier();
  for (var stride = 128u; stride > 0u; stride /= 2u) {
    if (lane < stride) { totalValues[lane] = totalValues[lane] + totalValues[lane + stride]; }
    workgroupBarrier();
  }
  let result = totalValues[0];
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
  for (var b = 0u; b < params.batch; b++) {
    for (var r = lane; r < params.length; r += 256u) {
      sum += terms[params.first + params.step * ((b * params.heads + group.x) * params.length + r)];
    }
  }
  let all = total(sum, lane);
  if (lane == 0u) { result[group.x] = all; }
}
