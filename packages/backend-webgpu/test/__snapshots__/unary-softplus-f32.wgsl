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
fn powerOfTwo(k: vec4<i32>) -> vec4<f32> { return bitcast<vec4<f32>>((k + 127) << vec4<u32>(23u)); }
fn exp4(x: vec4<f32>) -> vec4<f32> {
  let limited = clamp(x, vec4<f32>(-110.0), vec4<f32>(90.0));
  let k = round(limited * 1.4426950408889634);
  let r = (limited - k * 0.693359375) + k * 2.12194440e-4;
  var p = r * 1.9875691500e-4 + 1.3981999507e-3;
  p = p * r + 8.3334519073e-3;
  p = p * r + 4.1665795894e-2;
  p = p * r + 1.6666665459e-1;
  p = p * r + 5.0000001201e-1;
  let whole = vec4<i32>(k);
  let half = whole / 2;
  return (p * r * r + r + 1.0) * powerOfTwo(half) * powerOfTwo(whole - half);
}
fn log4(x: vec4<f32>) -> vec4<f32> {
  let given = bitcast<vec4<u32>>(x);
  let tiny = given < vec4<u32>(0x00800000u);
  let bits = select(given, bitcast<vec4<u32>>(vec4<f32>(given)), tiny) + vec4<u32>(0x3f800000u - 0x3f3504f3u);
  let k = vec4<f32>(vec4<i32>(bits >> vec4<u32>(23u)) - select(vec4<i32>(127), vec4<i32>(276), tiny));
  let f = bitcast<vec4<f32>>((bits & vec4<u32>(0x007fffffu)) + vec4<u32>(0x3f3504f3u)) - 1.0;
  let s = f / (2.0 + f);
  let z = s * s;
  let w = z * z;
  let series = z * (0.66666662693 + w * 0.28498786688) + w * (0.40000972152 + w * 0.24279078841);
  let square = 0.5 * f * f;
  var y = s * (square + series) + k * 9.0580006145e-6 - square + f + k * 0.69313812256;
  y = setBits(y, 0xff800000u, isZero(x));
  y = setBits(y, 0x7f800000u, given == vec4<u32>(0x7f800000u));
  return setBits(y, 0x7fc00000u, isNegative(x));
}
fn softplus4(x: vec4<f32>) -> vec4<f32> {
  let e = exp4(-abs(x));
  let u = 1.0 + e;
  let rounded = u - 1.0;
  return max(x, vec4<f32>()) + select(e, log4(u) * (e / rounded), rounded > vec4<f32>());
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
  ys[i] = vec4<f32>(keepNaN(softplus4(x), x));
}
