enable f16;
struct Params {
  batch: u32,
  width: u32,
  heads: u32,
  kvHeads: u32,
  headDim: u32,
  capacity: u32,
  position: u32,
  rotates: u32,
  anglesAt: u32,
  qAt: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f16>;
@group(0) @binding(3) var<storage, read> q: array<f16>;
@group(0) @binding(4) var<storage, read> k: array<f16>;
@group(0) @binding(5) var<storage, read> v: array<f16>;
@group(0) @binding(6) var<storage, read_write> keys: array<f16>;
@group(0) @binding(7) var<storage, read_write> values: array<f16>;
@group(0) @binding(8) var<storage, read> angles: array<vec2<f32>>;
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
var<workgroup> total4Values: array<vec4<f32>, 64>;
fn total4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  total4Values[lane] = value;
  workgroupBarrier();
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    if (lane < stride) { total4Values[lane] = total4Values[lane] + total4Values[lane + stride]; }
    workgroupBarrier();
  }
  let result = total4Values[0];
  workgroupBarrier();
  return result;
}
fn rotated(pairs: vec4<f32>, d: u32, turns: bool) -> vec4<f32> {
  if (params.rotates == 0u || !turns) { return pairs; }
  let one = angles[params.anglesAt + d];
  let two = angles[params.anglesAt + d + 1u];
  let cosine = vec2<f32>(one.x, two.x);
  let sine = vec2<f32>(one.y, two.y);
  return vec4<f32>(pairs.xy * cosine - pairs.zw * sine, pairs.zw * cosine + pairs.xy * sine);
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b0 = min(group.y * 4u + 0u, params.batch - 1u);
  let b1 = min(group.y * 4u + 1u, params.batch - 1u);
  let b2 = min(group.y * 4u + 2u, params.batch - 1u);
  let b3 = min(group.y * 4u + 3u, params.batch - 1u);
  let half = params.headDim / 2u;
  let quarters = params.headDim / 4u;
  let head = group.x / quarters;
  let d = group.x % quarters * 2u;
  let isQuery = head < params.heads;
  let isKey = !isQuery && head < params.heads + params.kvHeads;
  let h = select(select(head - params.heads - params.kvHeads, head - params.heads, isKey), head, isQuery);
  let first = h * params.headDim + d;
  let places = vec4<u32>(first, first + 1u, first + half, first + half + 1u);
  var squares0 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b0 * params.width + j];
    squares0 += value * value;
  }
  let factor0 = 1.0 / sqrt(total(squares0, lane) / f32(params.width) + params.epsilon);
  var squares1 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b1 * params.width + j];
    squares1 += value * value;
  }
  let factor1 = 1.0 / sqrt(total(squares1, lane) / f32(params.width) + params.epsilon);
  var squares2 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b2 * params.width + j];
    squares2 += value * value;
  }
  let factor2 = 1.0 / sqrt(total(squares2, lane) / f32(params.width) + params.epsilon);
  var squares3 = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[b3 * params.width + j];
    squares3 += value * value;
  }
  let factor3 = 1.0 / sqrt(total(squares3, lane) / f32(params.width) + params.epsilon);
  var sums0 = vec4<f32>();
  var sums1 = vec4<f32>();
  var sums2 = vec4<f32>();
  var sums3 = vec4<f32>();
  if (isQuery) {
    let lines = params.width;
    for (var j = lane; j < lines; j += rowThreads) {
      let gain = f32(norm[j]);
      let weight0 = f32(q[(first) * lines + j]);
      let weight1 = f32(q[(first + 1u) * lines + j]);
      let weight2 = f32(q[(first + half) * lines + j]);
      let weight3 = f32(q[(first + half + 1u) * lines + j]);
      let value0 = state[b0 * params.width + j] * gain;
      sums0 += vec4<f32>(weight0 * value0,weight1 * value0,weight2 * value0,weight3 * value0);
      let value1 = state[b1 * params.width + j] * gain;
      sums1 += vec4<f32>(weight0 * value1,weight1 * value1,weight2 * value1,weight3 * value1);
      let value2 = state[b2 * params.width + j] * gain;
      sums2 += vec4<f32>(weight0 * value2,weight1 * value2,weight2 * value2,weight3 * value2);
      let value3 = state[b3 * params.width + j] * gain;
      sums3 += vec4<f32>(weight0 * value3,weight1 * value3,weight2 * value3,weight3 * value3);
    }
  }
  if (isKey) {
    let lines = params.width;
    for (var j = lane; j < lines; j += rowThreads) {
      let gain = f32(norm[j]);
      let weight0 = f32(k[(first) * lines + j]);
      let weight1 = f32(k[(first + 1u) * lines + j]);
      let weight2 = f32(k[(first + half) * lines + j]);
      let weight3 = f32(k[(first + half + 1u) * lines + j]);
      let value0 = state[b0 * params.width + j] * gain;
      sums0 += vec4<f32>(weight0 * value0,weight1 * value0,weight2 * value0,weight3 * value0);
      let value1 = state[b1 * params.width + j] * gain;
      sums1 += vec4<f32>(weight0 * value1,weight1 * value1,weight2 * value1,weight3 * value1);
      let value2 = state[b2 * params.width + j] * gain;
      sums2 += vec4<f32>(weight0 * value2,weight1 * value2,weight2 * value2,weight3 * value2);
      let value3 = state[b3 * params.width + j] * gain;
      sums3 += vec4<f32>(weight0 * value3,weight1 * value3,weight2 * value3,weight3 * value3);
    }
  }
  if (!isQuery && !isKey) {
    let lines = params.width;
    for (var j = lane; j < lines; j += rowThreads) {
      let gain = f32(norm[j]);
      let weight0 = f32(v[(first) * lines + j]);
      let weight1 = f32(v[(first + 1u) * lines + j]);
      let weight2 = f32(v[(first + half) * lines + j]);
      let weight3 = f32(v[(first + half + 1u) * lines + j]);
      let value0 = state[b0 * params.width + j] * gain;
      sums0 += vec4<f32>(weight0 * value0,weight1 * value0,weight2 * value0,weight3 * value0);
      let value1 = state[b1 * params.width + j] * gain;
      sums1 += vec4<f32>(weight0 * value1,weight1 * value1,weight2 * value1,weight3 * value1);
      let value2 = state[b2 * params.width + j] * gain;
      sums2 += vec4<f32>(weight0 * value2,weight1 * value2,weight2 * value2,weight3 * value2);
      let value3 = state[b3 * params.width + j] * gain;
      sums3 += vec4<f32>(weight0 * value3,weight1 * value3,weight2 * value3,weight3 * value3);
    }
  }
  {
    let result = rotated(total4(sums0, lane) * factor0, d, isQuery || isKey);
    if (lane == 0u && group.y * 4u + 0u < params.batch) {
      let row = (b0 * params.capacity + params.position) * params.kvHeads * params.headDim;
      let queries = params.qAt + b0 * params.heads * params.headDim;
      for (var e = 0u; e < 4u; e++) {
        if (isQuery) { state[queries + places[e]] = result[e]; }
        if (isKey) { keys[row + places[e]] = f16(result[e]); }
        if (!isQuery && !isKey) { values[row + places[e]] = f16(result[e]); }
      }
    }
  }
  {
    let result = rotated(total4(sums1, lane) * factor1, d, isQuery || isKey);
    if (lane == 0u && group.y * 4u + 1u < params.batch) {
      let row = (b1 * params.capacity + params.position) * params.kvHeads * params.headDim;
      let queries = params.qAt + b1 * params.heads * params.headDim;
      for (var e = 0u; e < 4u; e++) {
        if (isQuery) { state[queries + places[e]] = result[e]; }
        if (isKey) { keys[row + places[e]] = f16(result[e]); }
        if (!isQuery && !isKey) { values[row + places[e]] = f16(result[e]); }
      }
    }
  }
  {
    let result = rotated(total4(sums2, lane) * factor2, d, isQuery || isKey);
    if (lane == 0u && group.y * 4u + 2u < params.batch) {
      let row = (b2 * params.capacity + params.position) * params.kvHeads * params.headDim;
      let queries = params.qAt + b2 * params.heads * params.headDim;
      for (var e = 0u; e < 4u; e++) {
        if (isQuery) { state[queries + places[e]] = result[e]; }
        if (isKey) { keys[row + places[e]] = f16(result[e]); }
        if (!isQuery && !isKey) { values[row + places[e]] = f16(result[e]); }
      }
    }
  }
  {
    let result = rotated(total4(sums3, lane) * factor3, d, isQuery || isKey);
    if (lane == 0u && group.y * 4u + 3u < params.batch) {
      let row = (b3 * params.capacity + params.position) * params.kvHeads * params.headDim;
      let queries = params.qAt + b3 * params.heads * params.headDim;
      for (var e = 0u; e < 4u; e++) {
        if (isQuery) { state[queries + places[e]] = result[e]; }
        if (isKey) { keys[row + places[e]] = f16(result[e]); }
        if (!isQuery && !isKey) { values[row + places[e]] = f16(result[e]); }
      }
    }
  }
}
