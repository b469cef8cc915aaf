enable f16;
struct Params {
  keyLength: u32,
  keyCapacity: u32,
  heads: u32,
  kvHeads: u32,
  headDim: u32,
  window: u32,
  tauAt: u32,
  sinkAt: u32,
  hasStarts: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> parts: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> starts: array<i32>;
var<workgroup> totalValues: array<f32, 64>;
fn total(value: f32, lane: u32) -> f32 {
  totalValues[lane] = value;
  workgroupBarrier();
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    if (lane < stride) { totalValues[lane] = totalValues[lane] + totalValues[lane + stride]; }
    workgroupBarrier();
  }
  let result = totalValues[0];
  workgroupBarrier();
  return result;
}
var<workgroup> largestValues: array<f32, 64>;
fn largest(value: f32, lane: u32) -> f32 {
  largestValues[lane] = value;
  workgroupBarrier();
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    if (lane < stride) { largestValues[lane] = max(largestValues[lane], largestValues[lane + stride]); }
    workgroupBarrier();
  }
  let result = largestValues[0];
  workgroupBarrier();
  return result;
}
var<workgroup> query: array<vec4<f32>, 32>;
fn exponential(x: f32, top: f32) -> f32 {
  return select(exp(x - top), 0.0, bitcast<u32>(x) == 0xff800000u);
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let vectors = params.headDim / 4u;
  let h = group.y;
  let b = group.z;
  let kvHead = h / (params.heads / params.kvHeads);
  var start = 0u;
  if (params.hasStarts != 0u) { start = u32(starts[b]); }
  let row = b * params.heads + h;
  let kBase = (b * params.keyCapacity * params.kvHeads + kvHead) * vectors;
  let kStride = params.kvHeads * vectors;
  for (var d = lane; d < vectors; d += 64u) { query[d] = vec4<f32>(q[row * vectors + d]) * params.scale; }
  workgroupBarrier();
  let j = group.x * 64u + lane;
  let inside = j < params.keyLength && j >= start;
  var score = -3.4028234663852886e38;
  if (inside) {
    var products = vec4<f32>();
    for (var d = 0u; d < vectors; d++) {
      products = fma(query[d], vec4<f32>(k[kBase + j * kStride + d]), products);
    }
    score = dot(products, vec4<f32>(1.0));
    let distance = params.keyLength - 1u - j;
    if (distance < params.window) { score += bias[h * params.window + distance]; }
  }
  if (j < params.keyLength) { scores[row * params.keyLength + j] = score; }
  let top = largest(score, lane);
  let sum = total(select(0.0, exponential(score, top), inside), lane);
  if (lane == 0u) { parts[row * groups.x + group.x] = vec2<f32>(top, sum); }
}
