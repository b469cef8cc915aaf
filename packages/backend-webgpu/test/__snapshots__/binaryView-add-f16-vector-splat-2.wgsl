enable f16;
struct Params {
  vectors: u32,
  elements: u32,
  size0: u32,
  size1: u32,
  size2: u32,
  size3: u32,
  size4: u32,
  size5: u32,
  size6: u32,
  size7: u32,
  a0: u32,
  a1: u32,
  a2: u32,
  a3: u32,
  a4: u32,
  a5: u32,
  a6: u32,
  a7: u32,
  b0: u32,
  b1: u32,
  b2: u32,
  b3: u32,
  b4: u32,
  b5: u32,
  b6: u32,
  b7: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> right: array<f16>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f16>>;
fn aPlace(entry: u32) -> u32 {
  var rest = entry;
  var place = 0u;
  place += rest % params.size1 * params.a1;
  rest /= params.size1;
  return place + rest * params.a0;
}
fn bPlace(entry: u32) -> u32 {
  var rest = entry;
  var place = 0u;
  place += rest % params.size1 * params.b1;
  rest /= params.size1;
  return place + rest * params.b0;
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.vectors) { return; }
  let a = vec4<f32>(left[aPlace(i)]);
  let b = vec4<f32>(f32(right[bPlace(i)]));
  out[i] = vec4<f16>(a + b);
}
