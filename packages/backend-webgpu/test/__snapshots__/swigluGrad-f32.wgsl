struct Params {
  vectors: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dyData: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gateData: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> upData: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dgateData: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dupData: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.vectors) { return; }
  let dy = vec4<f32>(dyData[i]);
  let gate = vec4<f32>(gateData[i]);
  let up = vec4<f32>(upData[i]);
  let e = exp(-abs(gate));
  let sigmoid = select(e, vec4<f32>(1.0), gate >= vec4<f32>()) / (1.0 + e);
  let dgate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
  let dup = dy * gate * sigmoid;
  dgateData[i] = vec4<f32>(dgate);
  dupData[i] = vec4<f32>(dup);
}
