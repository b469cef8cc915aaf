enable f16;
enable subgroups;
struct Params {
  heads: u32,
  kvHeads: u32,
  headDim: u32,
  capacity: u32,
  keyLength: u32,
  window: u32,
  tauAt: u32,
  sinkAt: u32,
  hasStarts: u32,
  startsAt: u32,
  qAt: u32,
  outAt: u32,
  scoresAt: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> keys: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> perHead: array<f32>;
@group(0) @binding(6) var<storage, read> starts: array<i32>;
const rowThreads = 64u;
var<workgroup> totalValues: array<f32, 64>;
fn total(value: f32, lane: u32) -> f32 {
  let part = subgroupAdd(value);
  totalValues[lane] = select(0.0, part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = 0.0;
  for (var i = rank; i < 64u; i += members) { mine = mine + totalValues[i]; }
  let result = subgroupAdd(mine);
  workgroupBarrier();
  return result;
}
var<workgroup> largestValues: array<f32, 64>;
fn largest(value: f32, lane: u32) -> f32 {
  let part = subgroupMax(value);
  largestValues[lane] = select(-3.4028234663852886e38, part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = -3.4028234663852886e38;
  for (var i = rank; i < 64u; i += members) { mine = max(mine, largestValues[i]); }
  let result = subgroupMax(mine);
  workgroupBarrier();
  return result;
}
var<workgroup> query: array<vec4<f32>, 64>;
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
// s = scale * q . k + bias, kept for the weight.
fn scoreOf(j: u32, h: u32, line: u32, scores: u32) -> f32 {
  var products = vec4<f32>();
  for (var d = 0u; d < params.headDim / 4u; d++) {
    products = fma(query[d], vec4<f32>(keys[line + d]), products);
  }
  var score = dot(products, vec4<f32>(1.0));
  let distance = params.keyLength - 1u - j;
  if (distance < params.window) { score += bias[h * params.window + distance]; }
  state[scores + j] = score;
  return score;
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let h = group.x;
  let b = group.y;
  let vectors = params.headDim / 4u;
  let row = b * params.heads + h;
  let scores = params.scoresAt + row * params.keyLength;
  let stride = params.kvHeads * vectors;
  let base = (b * params.capacity * params.kvHeads + h / (params.heads / params.kvHeads)) * vectors;
  var start = 0u;
  if (params.hasStarts != 0u) { start = u32(starts[params.startsAt + b]); }
  for (var d = lane; d < vectors; d += rowThreads) {
    let at = params.qAt + row * params.headDim + 4u * d;
    query[d] = params.scale * vec4<f32>(state[at], state[at + 1u], state[at + 2u], state[at + 3u]);
  }
  workgroupBarrier();
  var mine = -3.4028234663852886e38;
  var part = 0.0;
  let beside = besideTop(h);
  if (lane == 0u && bitcast<u32>(beside) != 0xff800000u) {
    mine = beside;
    part = besideSum(h, beside);
  }
  for (var begin = start + lane; begin < params.keyLength; begin += 64u * rowThreads) {
    let before = mine;
    var block = 0.0;
    for (var j = begin; j < min(params.keyLength, begin + 64u * rowThreads); j += rowThreads) {
      let value = scoreOf(j, h, base + j * stride, scores);
      let factor = exp(-abs(value - mine));
      block = select(block + factor, block * factor + 1.0, value > mine);
      mine = max(mine, value);
    }
    part = part * exp(before - mine) + block;
  }
  let top = largest(mine, lane);
  let sum = total(part * exp(mine - top), lane);
  let poison = select(0x7fc00000u, 0u, bitcast<u32>(sum) - 0x3f000000u < 0x40800000u);
  let inverse = 1.0 / sum;
  var offset = 0.0;
  if (params.tauAt != 4294967295u) { offset = perHead[params.tauAt + h] / (f32(params.keyLength - start)); }
  for (var j = start + lane; j < params.keyLength; j += rowThreads) {
    state[scores + j] = bitcast<f32>(bitcast<u32>(relu(exponential(state[scores + j], top) * inverse + offset)) | poison);
  }
  storageBarrier();
  // Invocations = groups of keys x columns of vec4; with fewer invocations than columns, several columns each.
  let columns = min(vectors, rowThreads);
  let keyGroups = rowThreads / columns;
  let keyGroup = lane / columns;
  if (keyGroup < keyGroups) {
    for (var column = lane % columns; column < vectors; column += columns) {
      var output = vec4<f32>();
      for (var j = start + keyGroup; j < params.keyLength; j += keyGroups) {
        let weight = state[scores + j];
        if (bitcast<u32>(weight) != 0u) {
          output = fma(vec4<f32>(weight), vec4<f32>(values[base + j * stride + column]), output);
        }
      }
      sums[keyGroup * vectors + column] = output;
    }
  }
  workgroupBarrier();
  for (var column = lane; column < vectors; column += rowThreads) {
    var output = sums[column];
    for (var g = 1u; g < keyGroups; g++) { output += sums[g * vectors + column]; }
    let at = params.outAt + row * params.headDim + 4u * column;
    for (var e = 0u; e < 4u; e++) { state[at + e] = output[e]; }
  }
}
