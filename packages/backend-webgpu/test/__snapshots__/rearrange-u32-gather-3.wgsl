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
  x0: u32,
  x1: u32,
  x2: u32,
  x3: u32,
  x4: u32,
  x5: u32,
  x6: u32,
  x7: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> xs: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<u32>>;
fn xPlace(entry: u32) -> u32 {
  var rest = entry;
  var place = 0u;
  place += rest % params.size2 * params.x2;
  rest /= params.size2;
  place += rest % params.size1 * params.x1;
  rest /= params.size1;
  return place + rest * params.x0;
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.vectors) { return; }
  out[i] = vec4<u32>(u32(xs[xPlace(min(4u * i + 0u, params.elements - 1u))]), u32(xs[xPlace(min(4u * i + 1u, params.elements - 1u))]), u32(xs[xPlace(min(4u * i + 2u, params.elements - 1u))]), u32(xs[xPlace(min(4u * i + 3u, params.elements - 1u))]));
}
