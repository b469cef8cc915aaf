struct Params {
  count: u32,
  width: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<i32>;
@group(0) @binding(3) var<storage, read> links: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> dweight: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let place = group.y * groups.x + group.x;
  if (place >= params.count) { return; }
  if (links[place].y == 0u) { return; }
  let base = u32(ids[place]) * params.width;
  for (var j = lane; j < params.width; j += 64u) {
    var sum = 0.0;
    for (var t = place; t < params.count; t = links[t].x) { sum += f32(dy[t * params.width + j]); }
    dweight[base + j] = f32(sum);
  }
}
