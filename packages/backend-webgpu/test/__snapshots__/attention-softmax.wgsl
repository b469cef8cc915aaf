struct Params {
  queryLength: u32,
  keyLength: u32,
  keyCapacity: u32,
  heads: u32,
  kvHeads: u32,
  headDim: u32,
  window: u32,
  tauAt: u32,
  sinkAt: u32,
  hasStarts: u32,
  firstHead: u32,
  headCount: u32,
  groupHeads: u32,
  blockRow: u32,
  rowCount: u32,
  stripWidth: u32,
  biasWidth: u32,
  accumulate: u32,
  factor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> strip: array<f32>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> perHead: array<f32>;
@group(0) @binding(5) var<storage, read> starts: array<i32>;
const rowThreads = 64u;
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
fn startOf(batch: u32, row: u32) -> u32 {
  if (params.hasStarts == 0u) { return 0u; }
  return u32(starts[batch * params.queryLength + params.blockRow + row]);
}
fn scoreAt(base: u32, key: u32, h: u32, position: u32) -> f32 {
  let distance = position - key;
  var score = strip[base + key];
  if (distance < params.window) { score += bias[h * params.window + distance]; }
  return score;
}
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
  let r = group.x;
  let batch = (params.firstHead + group.y) / params.heads;
  let h = (params.firstHead + group.y) % params.heads;
  let kvHead = h / (params.heads / params.kvHeads);
  let qOffset = params.keyLength - params.queryLength;
  let stripBase = group.y * params.rowCount * params.stripWidth;
  let rowBase = ((batch * params.queryLength + params.blockRow) * params.heads + h) * params.headDim;
  let keyBase = (batch * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;
  let base = stripBase + r * params.stripWidth;
  let position = params.blockRow + r + qOffset;
  let start = startOf(batch, r);
  let groupRow = r / 64u * 64u;
  let firstKey = startOf(batch, groupRow) / 64u * 64u;
  let lastPosition = params.blockRow + min(groupRow + 64u, params.rowCount) - 1u + qOffset;
  let endKey = min(params.stripWidth, (lastPosition / 64u + 1u) * 64u);
  let count = f32(position - start + 1u);
  var offset = 0.0;
  if (params.tauAt != 4294967295u) { offset = perHead[params.tauAt + h] / (count); }
  let statsAt = (batch * params.heads + h) * params.queryLength + params.blockRow + r;
  var mine = -3.4028234663852886e38;
  var part = 0.0;
  let beside = besideTop(h);
  if (lane == 0u && bitcast<u32>(beside) != 0xff800000u) {
    mine = beside;
    part = besideSum(h, beside);
  }
  for (var begin = start + lane; begin < position + 1u; begin += 64u * rowThreads) {
    let before = mine;
    var block = 0.0;
    for (var j = begin; j < min(position + 1u, begin + 64u * rowThreads); j += rowThreads) {
      let value = scoreAt(base, j, h, position);
      let factor = exp(-abs(value - mine));
      block = select(block + factor, block * factor + 1.0, value > mine);
      mine = max(mine, value);
    }
    part = part * exp(before - mine) + block;
  }
  let top = largest(mine, lane);
  let sum = total(part * exp(mine - top), lane);
  let poison = select(0x7fc00000u, 0u, bitcast<u32>(sum) - 0x3f000000u < 0x40800000u);
  let inverse = bitcast<f32>(bitcast<u32>((1.0 / sum)) | poison);
  if (poison == 0u && ((bitcast<u32>(offset) & 0x7fffffffu) <= 0x7f800000u)) {
    for (var j = firstKey + lane; j < endKey; j += rowThreads) {
      if (j >= start && j <= position) {
        let p = exponential(scoreAt(base, j, h, position), top) * inverse;
        strip[base + j] = max(p + offset, 0.0);
      } else {
        strip[base + j] = 0.0;
      }
    }
  } else {
    for (var j = firstKey + lane; j < endKey; j += rowThreads) {
      if (j >= start && j <= position) {
        let p = exponential(scoreAt(base, j, h, position), top) * inverse;
        strip[base + j] = bitcast<f32>(bitcast<u32>((relu(p + offset))) | poison);
      } else {
        strip[base + j] = 0.0;
      }
    }
  }
  if (lane == 0u) { stats[statsAt] = vec2<f32>(top, inverse); }
}
