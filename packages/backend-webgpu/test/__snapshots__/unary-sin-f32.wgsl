struct Params {
  vectors: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> xs: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> ys: array<vec4<f32>>;
fn keepNaN(y: vec4<f32>, x: vec4<f32>) -> vec4<f32> {
  let bits = bitcast<vec4<u32>>(x);
  let isNaN = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(y) | select(vec4<u32>(), vec4<u32>(0x7fc00000u), isNaN));
}
fn setBits(y: vec4<f32>, bits: u32, places: vec4<bool>) -> vec4<f32> {
  return bitcast<vec4<f32>>(select(bitcast<vec4<u32>>(y), vec4<u32>(bits), places));
}
fn isZero(x: vec4<f32>) -> vec4<bool> { return (bitcast<vec4<u32>>(x) << vec4<u32>(1u)) == vec4<u32>(); }
fn isInfinite(x: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0x7f800000u);
}
// Below zero, -Infinity included: neither -0 nor NaN.
fn isNegative(x: vec4<f32>) -> vec4<bool> {
  return bitcast<vec4<u32>>(x) - vec4<u32>(0x80000001u) < vec4<u32>(0x7f800000u);
}
fn angle4(x: vec4<f32>, octants: u32) -> vec4<f32> {
  let size = min(abs(x), vec4<f32>(1.0e6));
  var j = vec4<u32>(size * 1.2732395447351628);
  j += j & vec4<u32>(1u);
  let y = vec4<f32>(j);
  let r = ((size - y * 0.78515625) - y * 2.4187564849853515625e-4) - y * 3.77489497744594108e-8;
  let z = r * r;
  let sine = ((z * -1.9515295891e-4 + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
  let cosine = ((z * 2.443315711809948e-5 - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
  let turned = j + octants;
  let value = select(sine, cosine, (turned & vec4<u32>(2u)) != vec4<u32>());
  let result = select(value, -value, (turned & vec4<u32>(4u)) != vec4<u32>());
  return setBits(result, 0x7fc00000u, isInfinite(x));
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.vectors) { return; }
  let x = vec4<f32>(xs[i]);
  ys[i] = vec4<f32>(keepNaN(select(-angle4(x, 0u), angle4(x, 0u), x >= vec4<f32>()), x));
}
