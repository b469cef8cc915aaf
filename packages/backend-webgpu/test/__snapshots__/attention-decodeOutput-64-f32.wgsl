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
@group(0) @binding(1) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scores: array<f32>;
@group(0) @binding(3) var<storage, read> parts: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> outputs: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> perHead: array<f32>;
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
var<workgroup> weights: array<f32, 256>;
var<workgroup> sums: array<vec4<f32>, 64>;
fn exponential(x: f32, top: f32) -> f32 {
  return select(exp(x - top), 0.0, bitcast<u32>(x) == 0xff800000u);
}
fn relu(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>(select(bits, 0u, bits - 0x80000000u <= 0x7f800000u));
}
fn sinkLogit(h: u32) -> f32 {
  let there = params.sinkAt != 4294967295u;
  return bitcast<f32>(select(0xff800000u, bitcast<u32>(perHead[select(0u, params.sinkAt + h, there)]), there));
}
fn besideTop(h: u32) -> f32 { return sinkLogit(h); }
fn besideSum(h: u32, top: f32) -> f32 {
  let logit = sinkLogit(h);
  return select(exp(logit - top), 0.0, bitcast<u32>(logit) == 0xff800000u);
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
  let partCount = (params.keyLength + 63u) / 64u;
  let beside = besideTop(h);
  var mine = -3.4028234663852886e38;
  if (bitcast<u32>(beside) != 0xff800000u) { mine = beside; }
  for (var c = lane; c < partCount; c += 64u) { mine = max(mine, parts[row * partCount + c].x); }
  let top = largest(mine, lane);
  var part = 0.0;
  if (lane == 0u) { part = besideSum(h, top); }
  for (var c = lane; c < partCount; c += 64u) {
    let one = parts[row * partCount + c];
    part += one.y * exp(one.x - top);
  }
  let sumOfRow = total(part, lane);
  let poison = select(0x7fc00000u, 0u, bitcast<u32>(sumOfRow) - 0x3f000000u < 0x40800000u);
  let inverse = 1.0 / sumOfRow;
  var offset = 0.0;
  if (params.tauAt != 4294967295u) { offset = perHead[params.tauAt + h] / (f32(params.keyLength - start)); }
  let first = group.x * 256u;
  let count = min(256u, params.keyLength - first);
  for (var t = lane; t < count; t += 64u) {
    var weight = 0.0;
    if (first + t >= start) {
      let p = exponential(scores[row * params.keyLength + first + t], top) * inverse;
      weight = bitcast<f32>(bitcast<u32>(relu(p + offset)) | poison);
    }
    weights[t] = weight;
  }
  workgroupBarrier();
  let column = lane % 16u;
  let keyGroup = lane / 16u;
  var sum = vec4<f32>();
  if (column < vectors) {
    for (var t = keyGroup; t < count; t += 4u) {
      let weight = weights[t];
      if (bitcast<u32>(weight) != 0u) {
        sum = fma(vec4<f32>(weight), vec4<f32>(v[kBase + (first + t) * kStride + column]), sum);
      }
    }
  }
  sums[lane] = sum;
  workgroupBarrier();
  if (keyGroup == 0u && column < vectors) {
    for (var g = 1u; g < 4u; g++) { sum += sums[g * 16u + column]; }
    outputs[(row * groups.x + group.x) * vectors + column] = sum;
  }
}
