enable f16;
struct Params {
  rows: u32,
  width: u32,
  rowsPerGroup: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f16>;
@group(0) @binding(2) var<storage, read> x: array<f16>;
@group(0) @binding(3) var<storage, read> factors: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let j = group.x * 64u + lane;
  if (j >= params.width) { return; }
  let first = group.y * params.rowsPerGroup;
  let end = min(first + params.rowsPerGroup, params.rows);
  var sum = 0.0;
  for (var r = first; r < end; r++) {
    sum += f32(dy[r * params.width + j]) * f32(x[r * params.width + j]) * factors[r];
  }
  partial[group.y * params.width + j] = sum;
}
