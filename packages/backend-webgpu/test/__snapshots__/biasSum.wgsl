struct Params {
  heads: u32,
  window: u32,
  width: u32,
  batch: u32,
  tiles: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> dbias: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let id = (group.y * groups.x + group.x) * 64u + lane;
  if (id >= params.heads * params.window) { return; }
  let h = id / params.window;
  let d = id % params.window;
  var sum = 0.0;
  if (d < params.width) {
    for (var b = 0u; b < params.batch; b++) {
      for (var t = 0u; t < params.tiles; t++) {
        sum += partial[((b * params.heads + h) * params.tiles + t) * params.width + d];
      }
    }
  }
  dbias[id] = sum;
}
