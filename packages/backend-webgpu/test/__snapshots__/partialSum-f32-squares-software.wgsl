struct Params {
  elements: u32,
  slot: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
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
  var sum = vec4<f32>();
  let vectors = (params.elements + 3u) / 4u;
  for (var i = group.x * 256u + lane; i < vectors; i += groups.x * 256u) {
    let place = 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
    let value = select(vec4<f32>(), vec4<f32>(x[i]), place < vec4<u32>(params.elements));
    sum += value * value;
  }
  let result = total(dot(sum, vec4<f32>(1.0)), lane);
  if (lane == 0u) { partial[params.slot + group.x] = result; }
}
