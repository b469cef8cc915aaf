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
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dOutput: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> bias: array<f32>;
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> dbias: array<f32>;
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
fn vAt(base: u32, row: u32, rows: u32, stride: u32, d: u32) -> vec4<f32> {
  if (row >= rows || d >= params.headDim) { return vec4<f32>(); }
  return vec4<f32>(v[(base + row * stride + d) / 4u]);
}
fn dOutputAt(base: u32, row: u32, rows: u32, stride: u32, d: u32) -> vec4<f32> {
  if (row >= rows || d >= params.headDim) { return vec4<f32>(); }
  return vec4<f32>(dOutput[(base + row * stride + d) / 4u]);
}
fn biasAt(h: u32, distance: u32) -> f32 {
  if (distance >= params.window) { return 0.0; }
  return bias[h * params.window + distance];
}
var<workgroup> tileOffsets: array<vec4<f32>, 16>;
var<workgroup> tileDeltas: array<vec4<f32>, 16>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let rowTile = groups.x - 1u - group.x;
  let rowStart = rowTile * 64u;
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
  let stat0 = rows[2u * (statsBase + quadRows[0])];
  let stat1 = rows[2u * (statsBase + quadRows[1])];
  let stat2 = rows[2u * (statsBase + quadRows[2])];
  let stat3 = rows[2u * (statsBase + quadRows[3])];
  let tops = vec4<f32>(stat0.x, stat1.x, stat2.x, stat3.x);
  let inverses = vec4<f32>(stat0.y, stat1.y, stat2.y, stat3.y);
  let offsets = vec4<f32>(stat0.z, stat1.z, stat2.z, stat3.z);
  // A row that does not exist attends nothing: sums over queries have to leave it out.
  let firstKeys = select(vec4<u32>(0xffffffffu), vec4<u32>(vec4<f32>(stat0.w, stat1.w, stat2.w, stat3.w)), tileRows == quadRows);
  if (lane < 16u) {
    tileOffsets[lane] = offsets;
    tileDeltas[lane] = vec4<f32>(rows[2u * (statsBase + quadRows[0]) + 1u].x, rows[2u * (statsBase + quadRows[1]) + 1u].x, rows[2u * (statsBase + quadRows[2]) + 1u].x, rows[2u * (statsBase + quadRows[3]) + 1u].x);
  }
  workgroupBarrier();
  let offset0 = tileOffsets[ty * 2u + 0u];
  let delta0 = tileDeltas[ty * 2u + 0u];
  let offset1 = tileOffsets[ty * 2u + 1u];
  let delta1 = tileDeltas[ty * 2u + 1u];
  let biasBase = ((b * params.heads + h) * groups.x + rowTile) * params.width;
  for (var d = lane; d < params.width; d += 64u) { dbias[biasBase + d] = 0.0; }
  let line = (lane / 8u) * 8u;
  let column = lane % 8u;
  var o0_0 = vec4<f32>();
  var o0_1 = vec4<f32>();
  var o1_0 = vec4<f32>();
  var o1_1 = vec4<f32>();
  var o2_0 = vec4<f32>();
  var o2_1 = vec4<f32>();
  var o3_0 = vec4<f32>();
  var o3_1 = vec4<f32>();
  var o4_0 = vec4<f32>();
  var o4_1 = vec4<f32>();
  var o5_0 = vec4<f32>();
  var o5_1 = vec4<f32>();
  var o6_0 = vec4<f32>();
  var o6_1 = vec4<f32>();
  var o7_0 = vec4<f32>();
  var o7_1 = vec4<f32>();
  let lastKey = min(rowStart + 63u, params.queryLength - 1u) + qOffset;
  for (var keyStart = u32(rows[2u * (statsBase + rowStart)].w) / 64u * 64u; keyStart <= lastKey; keyStart += 64u) {
    {
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
    }
    workgroupBarrier();
    for (var t = lane / 16u; t < 64u; t += 4u) {
      let at = t * 16u + quad;
      let key = keyStart + t;
      // Distances to keys that are to come wrap around to large numbers, which are outside of any window.
      let distances = positions - key;
      let s = weights[at] * params.scale + vec4<f32>(biasAt(h, distances[0]), biasAt(h, distances[1]), biasAt(h, distances[2]), biasAt(h, distances[3]));
      let attended = (vec4<u32>(key) <= positions) & (vec4<u32>(key) >= firstKeys);
      weights[at] = select(vec4<f32>(), exp(s - tops) * inverses, attended);
    }
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
        let v = dOutputAt(qBase, rowStart + outer, params.queryLength, qStride, d0 + inner);
        stage[0u + (inner + 0u) * 64u + outer] = v[0];
        stage[0u + (inner + 1u) * 64u + outer] = v[1];
        stage[0u + (inner + 2u) * 64u + outer] = v[2];
        stage[0u + (inner + 3u) * 64u + outer] = v[3];
      }
      for (var item = lane; item < 256u; item += 64u) {
        let outer = item / 4u;
        let inner = (item % 4u) * 4u;
        let v = vAt(kBase, keyStart + outer, params.keyLength, kStride, d0 + inner);
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
    // ds = p (m g - delta), m = [p + tau / n > 0]; 0 where p is.
    {
      let p = weights[(tx * 8u + 0u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 0u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r0_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 0u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 0u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r0_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 1u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 1u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r1_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 1u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 1u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r1_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 2u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 2u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r2_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 2u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 2u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r2_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 3u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 3u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r3_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 3u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 3u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r3_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 4u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 4u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r4_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 4u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 4u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r4_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 5u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 5u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r5_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 5u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 5u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r5_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 6u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 6u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r6_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 6u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 6u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r6_1, p + offset1 > vec4<f32>()) - delta1);
    }
    {
      let p = weights[(tx * 8u + 7u) * 16u + ty * 2u + 0u];
      weights[(tx * 8u + 7u) * 16u + ty * 2u + 0u] = p * (select(vec4<f32>(), r7_0, p + offset0 > vec4<f32>()) - delta0);
    }
    {
      let p = weights[(tx * 8u + 7u) * 16u + ty * 2u + 1u];
      weights[(tx * 8u + 7u) * 16u + ty * 2u + 1u] = p * (select(vec4<f32>(), r7_1, p + offset1 > vec4<f32>()) - delta1);
    }
    for (var t0 = 0u; t0 < 64u; t0 += 32u) {
      workgroupBarrier();
      for (var item = lane; item < 512u; item += 64u) {
        let v = kAt(kBase, keyStart + t0 + item / 16u, params.keyLength, kStride, (item % 16u) * 4u);
        stage[4u * (item) + 0u] = v[0];
        stage[4u * (item) + 1u] = v[1];
        stage[4u * (item) + 2u] = v[2];
        stage[4u * (item) + 3u] = v[3];
      }
      workgroupBarrier();
      for (var t = 0u; t < 32u; t++) {
        let w0 = weights[((t0 + t) * 64u + line) / 4u + 0u];
        let w1 = weights[((t0 + t) * 64u + line) / 4u + 1u];
        let r0 = vec4<f32>(stage[4u * (t * 16u + column + 0u) + 0u], stage[4u * (t * 16u + column + 0u) + 1u], stage[4u * (t * 16u + column + 0u) + 2u], stage[4u * (t * 16u + column + 0u) + 3u]);
        let r1 = vec4<f32>(stage[4u * (t * 16u + column + 8u) + 0u], stage[4u * (t * 16u + column + 8u) + 1u], stage[4u * (t * 16u + column + 8u) + 2u], stage[4u * (t * 16u + column + 8u) + 3u]);
        o0_0 = fma(vec4<f32>(w0[0]), r0, o0_0);
        o0_1 = fma(vec4<f32>(w0[0]), r1, o0_1);
        o1_0 = fma(vec4<f32>(w0[1]), r0, o1_0);
        o1_1 = fma(vec4<f32>(w0[1]), r1, o1_1);
        o2_0 = fma(vec4<f32>(w0[2]), r0, o2_0);
        o2_1 = fma(vec4<f32>(w0[2]), r1, o2_1);
        o3_0 = fma(vec4<f32>(w0[3]), r0, o3_0);
        o3_1 = fma(vec4<f32>(w0[3]), r1, o3_1);
        o4_0 = fma(vec4<f32>(w1[0]), r0, o4_0);
        o4_1 = fma(vec4<f32>(w1[0]), r1, o4_1);
        o5_0 = fma(vec4<f32>(w1[1]), r0, o5_0);
        o5_1 = fma(vec4<f32>(w1[1]), r1, o5_1);
        o6_0 = fma(vec4<f32>(w1[2]), r0, o6_0);
        o6_1 = fma(vec4<f32>(w1[2]), r1, o6_1);
        o7_0 = fma(vec4<f32>(w1[3]), r0, o7_0);
        o7_1 = fma(vec4<f32>(w1[3]), r1, o7_1);
      }
    }
    let base = i32(rowStart + qOffset) - i32(keyStart);
    let limit = min(base + 64, i32(params.width));
    let first = max(base - 63, 0);
    for (var d = first + (i32(lane) - first % 64 + 64) % 64; d < limit; d += 64) {
      let shift = d - base;
      let highKey = min(63 - shift, 63);
      var sum = 0.0;
      for (var c = max(-shift, 0); c <= highKey; c++) {
        let place = u32(c * 64 + c + shift);
        sum += weights[place / 4u][place % 4u];
      }
      dbias[biasBase + u32(d)] += sum;
    }
  }
  if (rowStart + line + 0u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 0u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o0_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 0u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o0_1); }
  }
  if (rowStart + line + 1u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 1u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o1_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 1u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o1_1); }
  }
  if (rowStart + line + 2u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 2u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o2_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 2u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o2_1); }
  }
  if (rowStart + line + 3u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 3u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o3_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 3u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o3_1); }
  }
  if (rowStart + line + 4u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 4u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o4_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 4u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o4_1); }
  }
  if (rowStart + line + 5u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 5u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o5_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 5u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o5_1); }
  }
  if (rowStart + line + 6u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 6u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o6_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 6u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o6_1); }
  }
  if (rowStart + line + 7u < params.queryLength) {
    if (4u * (column + 0u) < params.headDim) { dq[(qBase + (rowStart + line + 7u) * qStride) / 4u + column + 0u] = vec4<f32>(params.scale * o7_0); }
    if (4u * (column + 8u) < params.headDim) { dq[(qBase + (rowStart + line + 7u) * qStride) / 4u + column + 8u] = vec4<f32>(params.scale * o7_1); }
  }
}
