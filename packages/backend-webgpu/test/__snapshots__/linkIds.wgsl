struct Params {
  count: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> links: array<vec2<u32>>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.count) { return; }
  let id = ids[i];
  var next = i + 1u;
  while (next < params.count && ids[next] != id) { next++; }
  var before = i;
  while (before > 0u && ids[before - 1u] != id) { before--; }
  links[i] = vec2<u32>(next, select(0u, 1u, before == 0u));
}
