struct Params {
  units: u32,
  viewLength: u32,
  inner: u32,
  start: u32,
  count: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.units) { return; }
  let o = i / (params.count * params.inner);
  let rest = i % (params.count * params.inner);
  y[(o * params.viewLength + params.start) * params.inner + rest] = x[o * params.count * params.inner + rest];
}
