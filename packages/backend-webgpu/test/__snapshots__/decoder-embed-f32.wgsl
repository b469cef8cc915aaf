struct Params {
  width: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> embeddings: array<f32>;
@group(0) @binding(3) var<storage, read> tokens: array<i32>;
const rowThreads = 64u;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = group.x;
  let id = u32(tokens[b]);
  for (var j = lane; j < params.width; j += rowThreads) {
    state[b * params.width + j] = f32(embeddings[id * params.width + j]);
  }
}
