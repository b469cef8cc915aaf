struct Params {
  elements: u32,
  size: u32,
  splits: u32,
  accumulate: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.elements) { return; }
  let z = i / params.size;
  let first = z * params.splits * params.size + i % params.size;
  var sum = 0.0;
  if (params.accumulate != 0u) { sum = f32(result[i]); }
  for (var s = 0u; s < params.splits; s++) { sum += partial[first + s * params.size]; }
  result[i] = f32(sum);
}
