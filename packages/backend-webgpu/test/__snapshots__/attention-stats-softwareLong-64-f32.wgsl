struct Params {
  queryLength: u32,
  keyLength: u32,
  keyCapacity: u32,
  heads: u32,
  kvHeads: u32,
  headDim: u32,
  window: u32,
  hasTau: u32,
  hasStarts: u32,
  scale: f32,
  rows: u32,
  width: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> tau: array<f32>;
@group(0) @binding(5) var<storage, read> starts: array<i32>;
@group(0) @binding(6) var<storage, read_write> stats: array<vec4<f32>>;
var<workgroup> stage: array<f32, 2048>;
var<workgroup> weights: array<vec4<f32>, 1024>;
fn qAt(base: u32, row: u32, rows: u32, stride: u32, d: u32) -> vec4<f32> {
  if (row >= rows || d >= params.headDim) { return vec4<f32>(); }
  return vec4<f32>(q[(base + row * stride + d) / 4u]);
}
fn kAt(base: u32, row: u32, rows: u32, stride: u32, d: u32) -> vec4<f32> {
  if (row >= rows || d >= params.headDim) { return vec4<f32>(); }
  return vec4<f32>(k[(base + row * stride + d) / 4u]);
}
fn biasAt(h: u32, distance: u32) -> f32 {
  if (distance >= params.window) { return 0.0; }
  return bias[h * params.window + distance];
}
fn startOf(b: u32, row: u32) -> u32 {
  if (params.hasStarts == 0u) { return 0u; }
  return u32(starts[b * params.queryLength + row]);
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let rowStart = (groups.x - 1u - group.x) * 64u;
  let h = group.y;
  let b = group.z;
  let kvHead = h / (params.heads / params.kvHeads);
  let qOffset = params.keyLength - params.queryLength;
  let qBase = (b * params.queryLength * params.heads + h) * params.headDim;
  let kBase = (b * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;
  let qStride = params.heads * params.headDim;
  let kStride = params.kvHeads * params.headDim;
  let statsBase = (b * params.heads + h) * params.queryLength;
  let ty = lane / 8u;
  let tx = lane % 8u;
  let quad = lane % 16u;
  let tileRows = rowStart + 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
  let quadRows = min(tileRows, vec4<u32>(params.queryLength - 1u));
  let positions = quadRows + qOffset;
  let lastKey = min(rowStart + 63u, params.queryLength - 1u) + qOffset;
  let firstKeys = vec4<u32>(startOf(b, quadRows.x), startOf(b, quadRows.y), startOf(b, quadRows.z), startOf(b, quadRows.w));
  var top = vec4<f32>(-3.0e38);
  var sum = vec4<f32>();
  for (var keyStart = startOf(b, rowStart) / 64u * 64u; keyStart <= lastKey; keyStart += 64u) {
    var r0_0 = vec4<f32>();
    var r0_1 = vec4<f32>();
    var r1_0 = vec4<f32>();
    var r1_1 = vec4<f32>();
    var r2_0 = vec4<f32>();
    var r2_1 = vec4<f32>();
    var r3_0 = vec4<f32>();
    var r3_1 = vec4<f32>();
    var r4_0 = vec4<f32>();
    var r4_1 = vec4<f32>();
    var r5_0 = vec4<f32>();
    var r5_1 = vec4<f32>();
    var r6_0 = vec4<f32>();
    var r6_1 = vec4<f32>();
    var r7_0 = vec4<f32>();
    var r7_1 = vec4<f32>();
    for (var d0 = 0u; d0 < params.headDim; d0 += 16u) {
      workgroupBarrier();
      for (var item = lane; item < 256u; item += 64u) {
        let outer = item / 4u;
        let inner = (item % 4u) * 4u;
        let v = qAt(qBase, rowStart + outer, params.queryLength, qStride, d0 + inner);
        stage[0u + (inner + 0u) * 64u + outer] = v[0];
        stage[0u + (inner + 1u) * 64u + outer] = v[1];
        stage[0u + (inner + 2u) * 64u + outer] = v[2];
        stage[0u + (inner + 3u) * 64u + outer] = v[3];
      }
      for (var item = lane; item < 256u; item += 64u) {
        let outer = item / 4u;
        let inner = (item % 4u) * 4u;
        let v = kAt(kBase, keyStart + outer, params.keyLength, kStride, d0 + inner);
        stage[1024u + (inner + 0u) * 64u + outer] = v[0];
        stage[1024u + (inner + 1u) * 64u + outer] = v[1];
        stage[1024u + (inner + 2u) * 64u + outer] = v[2];
        stage[1024u + (inner + 3u) * 64u + outer] = v[3];
      }
      workgroupBarrier();
      for (var kk = 0u; kk < 16u; kk++) {
        let x0 = vec4<f32>(stage[4u * (kk * 16u + ty * 2u + 0u) + 0u], stage[4u * (kk * 16u + ty * 2u + 0u) + 1u], stage[4u * (kk * 16u + ty * 2u + 0u) + 2u], stage[4u * (kk * 16u + ty * 2u + 0u) + 3u]);
        let x1 = vec4<f32>(stage[4u * (kk * 16u + ty * 2u + 1u) + 0u], stage[4u * (kk * 16u + ty * 2u + 1u) + 1u], stage[4u * (kk * 16u + ty * 2u + 1u) + 2u], stage[4u * (kk * 16u + ty * 2u + 1u) + 3u]);
        let y0 = vec4<f32>(stage[4u * (256u + kk * 16u + tx * 2u + 0u) + 0u], stage[4u * (256u + kk * 16u + tx * 2u + 0u) + 1u], stage[4u * (256u + kk * 16u + tx * 2u + 0u) + 2u], stage[4u * (256u + kk * 16u + tx * 2u + 0u) + 3u]);
        let y1 = vec4<f32>(stage[4u * (256u + kk * 16u + tx * 2u + 1u) + 0u], stage[4u * (256u + kk * 16u + tx * 2u + 1u) + 1u], stage[4u * (256u + kk * 16u + tx * 2u + 1u) + 2u], stage[4u * (256u + kk * 16u + tx * 2u + 1u) + 3u]);
        r0_0 = fma(vec4<f32>(y0[0]), x0, r0_0);
        r0_1 = fma(vec4<f32>(y0[0]), x1, r0_1);
        r1_0 = fma(vec4<f32>(y0[1]), x0, r1_0);
        r1_1 = fma(vec4<f32>(y0[1]), x1, r1_1);
        r2_0 = fma(vec4<f32>(y0[2]), x0, r2_0);
        r2_1 = fma(vec4<f32>(y0[2]), x1, r2_1);
        r3_0 = fma(vec4<f32>(y0[3]), x0, r3_0);
        r3_1 = fma(vec4<f32>(y0[3]), x1, r3_1);
        r4_0 = fma(vec4<f32>(y1[0]), x0, r4_0);
        r4_1 = fma(vec4<f32>(y1[0]), x1, r4_1);
        r5_0 = fma(vec4<f32>(y1[1]), x0, r5_0);
        r5_1 = fma(vec4<f32>(y1[1]), x1, r5_1);
        r6_0 = fma(vec4<f32>(y1[2]), x0, r6_0);
        r6_1 = fma(vec4<f32>(y1[2]), x1, r6_1);
        r7_0 = fma(vec4<f32>(y1[3]), x0, r7_0);
        r7_1 = fma(vec4<f32>(y1[3]), x1, r7_1);
      }
    }
    weights[(tx * 8u + 0u) * 16u + ty * 2u + 0u] = r0_0;
    weights[(tx * 8u + 0u) * 16u + ty * 2u + 1u] = r0_1;
    weights[(tx * 8u + 1u) * 16u + ty * 2u + 0u] = r1_0;
    weights[(tx * 8u + 1u) * 16u + ty * 2u + 1u] = r1_1;
    weights[(tx * 8u + 2u) * 16u + ty * 2u + 0u] = r2_0;
    weights[(tx * 8u + 2u) * 16u + ty * 2u + 1u] = r2_1;
    weights[(tx * 8u + 3u) * 16u + ty * 2u + 0u] = r3_0;
    weights[(tx * 8u + 3u) * 16u + ty * 2u + 1u] = r3_1;
    weights[(tx * 8u + 4u) * 16u + ty * 2u + 0u] = r4_0;
    weights[(tx * 8u + 4u) * 16u + ty * 2u + 1u] = r4_1;
    weights[(tx * 8u + 5u) * 16u + ty * 2u + 0u] = r5_0;
    weights[(tx * 8u + 5u) * 16u + ty * 2u + 1u] = r5_1;
    weights[(tx * 8u + 6u) * 16u + ty * 2u + 0u] = r6_0;
    weights[(tx * 8u + 6u) * 16u + ty * 2u + 1u] = r6_1;
    weights[(tx * 8u + 7u) * 16u + ty * 2u + 0u] = r7_0;
    weights[(tx * 8u + 7u) * 16u + ty * 2u + 1u] = r7_1;
    workgroupBarrier();
    for (var t = lane / 16u; t < 64u; t += 4u) {
      let at = t * 16u + quad;
      let key = keyStart + t;
      // Distances to keys that are to come wrap around to large numbers, which are outside of any window.
      let distances = positions - key;
      let s = weights[at] * params.scale + vec4<f32>(biasAt(h, distances[0]), biasAt(h, distances[1]), biasAt(h, distances[2]), biasAt(h, distances[3]));
      let attended = (vec4<u32>(key) <= positions) & (vec4<u32>(key) >= firstKeys);
      let next = max(top, select(vec4<f32>(-3.0e38), s, attended));
      sum = sum * exp(top - next) + select(vec4<f32>(), exp(s - next), attended);
      top = next;
    }
  }
  workgroupBarrier();
  weights[lane] = top;
  stage[4u * (lane) + 0u] = sum[0];
  stage[4u * (lane) + 1u] = sum[1];
  stage[4u * (lane) + 2u] = sum[2];
  stage[4u * (lane) + 3u] = sum[3];
  workgroupBarrier();
  if (lane < 16u) {
    var wholeTop = top;
    wholeTop = max(wholeTop, weights[lane + 16u]);
    wholeTop = max(wholeTop, weights[lane + 32u]);
    wholeTop = max(wholeTop, weights[lane + 48u]);
    var whole = sum * exp(top - wholeTop);
    whole += vec4<f32>(stage[4u * (lane + 16u) + 0u], stage[4u * (lane + 16u) + 1u], stage[4u * (lane + 16u) + 2u], stage[4u * (lane + 16u) + 3u]) * exp(weights[lane + 16u] - wholeTop);
    whole += vec4<f32>(stage[4u * (lane + 32u) + 0u], stage[4u * (lane + 32u) + 1u], stage[4u * (lane + 32u) + 2u], stage[4u * (lane + 32u) + 3u]) * exp(weights[lane + 32u] - wholeTop);
    whole += vec4<f32>(stage[4u * (lane + 48u) + 0u], stage[4u * (lane + 48u) + 1u], stage[4u * (lane + 48u) + 2u], stage[4u * (lane + 48u) + 3u]) * exp(weights[lane + 48u] - wholeTop);
    let inverse = 1.0 / whole;
    var offset = vec4<f32>();
    if (params.hasTau != 0u) { offset = tau[h] / vec4<f32>(positions - firstKeys + 1u); }
    for (var i = 0u; i < 4u; i++) {
      let row = rowStart + 4u * quad + i;
      if (row < params.queryLength) { stats[statsBase + row] = vec4<f32>(wholeTop[i], inverse[i], offset[i], f32(firstKeys[i])); }
    }
  }
}
