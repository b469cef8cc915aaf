enable f16;
struct Params {
  results: u32,
  length: u32,
  inner: u32,
  splits: u32,
  perSplit: u32,
  divisor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
const rowThreads = 8u;
var<workgroup> totalValues: array<f32, 8>;
fn total(value: f32, lane: u32) -> f32 {
  totalValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { totalValues[lane] = totalValues[lane] + totalValues[lane + stride]; }
    workgroupBarrier();
  }
  let result = totalValues[0];
  workgroupBarrier();
  return result;
}
var<workgroup> largestValues: array<f32, 8>;
fn largest(value: f32, lane: u32) -> f32 {
  largestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { largestValues[lane] = max(largestValues[lane], largestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = largestValues[0];
  workgroupBarrier();
  return result;
}
var<workgroup> highestValues: array<u32, 8>;
fn highest(value: u32, lane: u32) -> u32 {
  highestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 4u; stride > 0u; stride /= 2u) {
    if (lane < stride) { highestValues[lane] = max(highestValues[lane], highestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = highestValues[0];
  workgroupBarrier();
  return result;
}
fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn valueOf(rank: u32) -> f32 {
  return bitcast<f32>(select(~rank, rank & 0x7fffffffu, rank >= 0x80000000u));
}
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
fn logSumExp(worst: u32, top: f32, sum: f32) -> f32 {
  // The rank of Infinity, of NaN, and of -Infinity alone.
  if (worst >= 0xff800000u || worst == 0x007fffffu) { return valueOf(worst); }
  return top + log4(vec4<f32>(sum)).x;
}
@compute @workgroup_size(8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = group.y * groups.x + group.x;
  if (i >= params.results) { return; }
  let split = (i / params.inner) % params.splits;
  let first = split * params.perSplit;
  let end = min(first + params.perSplit, params.length);
  let base = i / (params.inner * params.splits) * params.length * params.inner + i % params.inner;
  var worst = 0u;
  var top = -3.4028234663852886e38;
  var sum = 0.0;
  for (var j = first + lane; j < end; j += rowThreads) {
    let value = f32(x[base + j]);
    worst = max(worst, rank(value));
    let factor = exp(-abs(value - top));
    sum = select(sum + factor, sum * factor + 1.0, value > top);
    top = max(top, value);
  }
  worst = highest(worst, lane);
  let largestOfAll = largest(top, lane);
  sum = total(sum * exp(top - largestOfAll), lane);
  top = largestOfAll;
  if (lane == 0u) { out[i] = f32(logSumExp(worst, top, sum)); }
}
