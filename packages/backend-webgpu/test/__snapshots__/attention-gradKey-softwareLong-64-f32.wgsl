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
@group(0) @binding(7) var<storage, read_write> dk: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> dv: array<vec4<f32>>;
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
var<workgroup> tileOffsets: array<f32, 64>;
var<workgroup> tileDeltas: array<f32, 64>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let keyStart = group.x * 64u;
  let b = group.z;
  let ty = lane / 8u;
  let tx = lane % 8u;
  let quad = lane % 16u;
  let quadKeys = keyStart + 4u * quad + vec4<u32>(0u, 1u, 2u, 3u);
  let lastKey = min(keyStart + 63u, params.keyLength - 1u);
  let line = (lane / 8u) * 8u;
  let column = lane % 8u;
  var ok0_0 = vec4<f32>();
  var ok0_1 = vec4<f32>();
  var ok1_0 = vec4<f32>();
  var ok1_1 = vec4<f32>();
  var ok2_0 = vec4<f32>();
  var ok2_1 = vec4<f32>();
  var ok3_0 = vec4<f32>();
  var ok3_1 = vec4<f32>();
  var ok4_0 = vec4<f32>();
  var ok4_1 = vec4<f32>();
  var ok5_0 = vec4<f32>();
  var ok5_1 = vec4<f32>();
  var ok6_0 = vec4<f32>();
  var ok6_1 = vec4<f32>();
  var ok7_0 = vec4<f32>();
  var ok7_1 = vec4<f32>();
  var ov0_0 = vec4<f32>();
  var ov0_1 = vec4<f32>();
  var ov1_0 = vec4<f32>();
  var ov1_1 = vec4<f32>();
  var ov2_0 = vec4<f32>();
  var ov2_1 = vec4<f32>();
  var ov3_0 = vec4<f32>();
  var ov3_1 = vec4<f32>();
  var ov4_0 = vec4<f32>();
  var ov4_1 = vec4<f32>();
  var ov5_0 = vec4<f32>();
  var ov5_1 = vec4<f32>();
  var ov6_0 = vec4<f32>();
  var ov6_1 = vec4<f32>();
  var ov7_0 = vec4<f32>();
  var ov7_1 = vec4<f32>();
  let groupSize = params.heads / params.kvHeads;
  for (var h = group.y * groupSize; h < (group.y + 1u) * groupSize; h++) {
    let kvHead = h / (params.heads / params.kvHeads);
    let qOffset = params.keyLength - params.queryLength;
    let qBase = (b * params.queryLength * params.heads + h) * params.headDim;
    let kBase = (b * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;
    let qStride = params.heads * params.headDim;
    let kStride = params.kvHeads * params.headDim;
    let statsBase = (b * params.heads + h) * params.queryLength;
    let firstRow = select(keyStart - qOffset, 0u, keyStart < qOffset) / 64u * 64u;
    for (var rowStart = firstRow; rowStart < params.queryLength; rowStart += 64u) {
      // Starts do not decrease, so no later row attends this tile either.
      if (u32(rows[2u * (statsBase + rowStart)].w) > lastKey) { break; }
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
            r0_0 = fma(vec4<f32>(x0[0]), y0, r0_0);
            r0_1 = fma(vec4<f32>(x0[0]), y1, r0_1);
            r1_0 = fma(vec4<f32>(x0[1]), y0, r1_0);
            r1_1 = fma(vec4<f32>(x0[1]), y1, r1_1);
            r2_0 = fma(vec4<f32>(x0[2]), y0, r2_0);
            r2_1 = fma(vec4<f32>(x0[2]), y1, r2_1);
            r3_0 = fma(vec4<f32>(x0[3]), y0, r3_0);
            r3_1 = fma(vec4<f32>(x0[3]), y1, r3_1);
            r4_0 = fma(vec4<f32>(x1[0]), y0, r4_0);
            r4_1 = fma(vec4<f32>(x1[0]), y1, r4_1);
            r5_0 = fma(vec4<f32>(x1[1]), y0, r5_0);
            r5_1 = fma(vec4<f32>(x1[1]), y1, r5_1);
            r6_0 = fma(vec4<f32>(x1[2]), y0, r6_0);
            r6_1 = fma(vec4<f32>(x1[2]), y1, r6_1);
            r7_0 = fma(vec4<f32>(x1[3]), y0, r7_0);
            r7_1 = fma(vec4<f32>(x1[3]), y1, r7_1);
          }
        }
        weights[(ty * 8u + 0u) * 16u + tx * 2u + 0u] = r0_0;
        weights[(ty * 8u + 0u) * 16u + tx * 2u + 1u] = r0_1;
        weights[(ty * 8u + 1u) * 16u + tx * 2u + 0u] = r1_0;
        weights[(ty * 8u + 1u) * 16u + tx * 2u + 1u] = r1_1;
        weights[(ty * 8u + 2u) * 16u + tx * 2u + 0u] = r2_0;
        weights[(ty * 8u + 2u) * 16u + tx * 2u + 1u] = r2_1;
        weights[(ty * 8u + 3u) * 16u + tx * 2u + 0u] = r3_0;
        weights[(ty * 8u + 3u) * 16u + tx * 2u + 1u] = r3_1;
        weights[(ty * 8u + 4u) * 16u + tx * 2u + 0u] = r4_0;
        weights[(ty * 8u + 4u) * 16u + tx * 2u + 1u] = r4_1;
        weights[(ty * 8u + 5u) * 16u + tx * 2u + 0u] = r5_0;
        weights[(ty * 8u + 5u) * 16u + tx * 2u + 1u] = r5_1;
        weights[(ty * 8u + 6u) * 16u + tx * 2u + 0u] = r6_0;
        weights[(ty * 8u + 6u) * 16u + tx * 2u + 1u] = r6_1;
        weights[(ty * 8u + 7u) * 16u + tx * 2u + 0u] = r7_0;
        weights[(ty * 8u + 7u) * 16u + tx * 2u + 1u] = r7_1;
      }
      workgroupBarrier();
      // p, and -1 for pairs that are not attended: with tau > 0 an attended pair may have p = 0 and weigh something.
      for (var t = lane / 16u; t < 64u; t += 4u) {
        let row = min(rowStart + t, params.queryLength - 1u);
        let stat = rows[2u * (statsBase + row)];
        let position = row + qOffset;
        let at = t * 16u + quad;
        let distances = position - quadKeys;
        let s = weights[at] * params.scale + vec4<f32>(biasAt(h, distances[0]), biasAt(h, distances[1]), biasAt(h, distances[2]), biasAt(h, distances[3]));
        let attended = (quadKeys <= vec4<u32>(position)) & (quadKeys >= vec4<u32>(u32(stat.w)));
        let exists = rowStart + t < params.queryLength;
        weights[at] = select(vec4<f32>(-1.0), exp(s - stat.x) * stat.y, attended & vec4<bool>(exists));
        if (quad == 0u) {
          tileOffsets[t] = stat.z;
          tileDeltas[t] = rows[2u * (statsBase + row) + 1u].x;
        }
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
          r0_0 = fma(vec4<f32>(x0[0]), y0, r0_0);
          r0_1 = fma(vec4<f32>(x0[0]), y1, r0_1);
          r1_0 = fma(vec4<f32>(x0[1]), y0, r1_0);
          r1_1 = fma(vec4<f32>(x0[1]), y1, r1_1);
          r2_0 = fma(vec4<f32>(x0[2]), y0, r2_0);
          r2_1 = fma(vec4<f32>(x0[2]), y1, r2_1);
          r3_0 = fma(vec4<f32>(x0[3]), y0, r3_0);
          r3_1 = fma(vec4<f32>(x0[3]), y1, r3_1);
          r4_0 = fma(vec4<f32>(x1[0]), y0, r4_0);
          r4_1 = fma(vec4<f32>(x1[0]), y1, r4_1);
          r5_0 = fma(vec4<f32>(x1[1]), y0, r5_0);
          r5_1 = fma(vec4<f32>(x1[1]), y1, r5_1);
          r6_0 = fma(vec4<f32>(x1[2]), y0, r6_0);
          r6_1 = fma(vec4<f32>(x1[2]), y1, r6_1);
          r7_0 = fma(vec4<f32>(x1[3]), y0, r7_0);
          r7_1 = fma(vec4<f32>(x1[3]), y1, r7_1);
        }
      }
      // The tile becomes w = max(p + tau / n, 0); the registers keep ds = p (m g - delta), m = [p + tau / n > 0].
      {
        let offset = tileOffsets[ty * 8u + 0u];
        let delta = tileDeltas[ty * 8u + 0u];
        {
          let p = weights[(ty * 8u + 0u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 0u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r0_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r0_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 0u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 0u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r0_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r0_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 1u];
        let delta = tileDeltas[ty * 8u + 1u];
        {
          let p = weights[(ty * 8u + 1u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 1u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r1_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r1_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 1u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 1u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r1_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r1_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 2u];
        let delta = tileDeltas[ty * 8u + 2u];
        {
          let p = weights[(ty * 8u + 2u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 2u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r2_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r2_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 2u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 2u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r2_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r2_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 3u];
        let delta = tileDeltas[ty * 8u + 3u];
        {
          let p = weights[(ty * 8u + 3u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 3u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r3_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r3_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 3u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 3u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r3_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r3_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 4u];
        let delta = tileDeltas[ty * 8u + 4u];
        {
          let p = weights[(ty * 8u + 4u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 4u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r4_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r4_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 4u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 4u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r4_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r4_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 5u];
        let delta = tileDeltas[ty * 8u + 5u];
        {
          let p = weights[(ty * 8u + 5u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 5u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r5_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r5_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 5u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 5u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r5_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r5_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 6u];
        let delta = tileDeltas[ty * 8u + 6u];
        {
          let p = weights[(ty * 8u + 6u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 6u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r6_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r6_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 6u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 6u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r6_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r6_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        let offset = tileOffsets[ty * 8u + 7u];
        let delta = tileDeltas[ty * 8u + 7u];
        {
          let p = weights[(ty * 8u + 7u) * 16u + tx * 2u + 0u];
          let shifted = p + offset;
          weights[(ty * 8u + 7u) * 16u + tx * 2u + 0u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r7_0 = max(p, vec4<f32>()) * (select(vec4<f32>(), r7_0, shifted > vec4<f32>()) - delta);
        }
        {
          let p = weights[(ty * 8u + 7u) * 16u + tx * 2u + 1u];
          let shifted = p + offset;
          weights[(ty * 8u + 7u) * 16u + tx * 2u + 1u] = select(vec4<f32>(), max(shifted, vec4<f32>()), p >= vec4<f32>());
          r7_1 = max(p, vec4<f32>()) * (select(vec4<f32>(), r7_1, shifted > vec4<f32>()) - delta);
        }
      }
      {
        for (var t0 = 0u; t0 < 64u; t0 += 32u) {
          workgroupBarrier();
          for (var item = lane; item < 512u; item += 64u) {
            let v = dOutputAt(qBase, rowStart + t0 + item / 16u, params.queryLength, qStride, (item % 16u) * 4u);
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
            ov0_0 = fma(vec4<f32>(w0[0]), r0, ov0_0);
            ov0_1 = fma(vec4<f32>(w0[0]), r1, ov0_1);
            ov1_0 = fma(vec4<f32>(w0[1]), r0, ov1_0);
            ov1_1 = fma(vec4<f32>(w0[1]), r1, ov1_1);
            ov2_0 = fma(vec4<f32>(w0[2]), r0, ov2_0);
            ov2_1 = fma(vec4<f32>(w0[2]), r1, ov2_1);
            ov3_0 = fma(vec4<f32>(w0[3]), r0, ov3_0);
            ov3_1 = fma(vec4<f32>(w0[3]), r1, ov3_1);
            ov4_0 = fma(vec4<f32>(w1[0]), r0, ov4_0);
            ov4_1 = fma(vec4<f32>(w1[0]), r1, ov4_1);
            ov5_0 = fma(vec4<f32>(w1[1]), r0, ov5_0);
            ov5_1 = fma(vec4<f32>(w1[1]), r1, ov5_1);
            ov6_0 = fma(vec4<f32>(w1[2]), r0, ov6_0);
            ov6_1 = fma(vec4<f32>(w1[2]), r1, ov6_1);
            ov7_0 = fma(vec4<f32>(w1[3]), r0, ov7_0);
            ov7_1 = fma(vec4<f32>(w1[3]), r1, ov7_1);
          }
        }
      }
      workgroupBarrier();
      weights[(ty * 8u + 0u) * 16u + tx * 2u + 0u] = r0_0;
      weights[(ty * 8u + 0u) * 16u + tx * 2u + 1u] = r0_1;
      weights[(ty * 8u + 1u) * 16u + tx * 2u + 0u] = r1_0;
      weights[(ty * 8u + 1u) * 16u + tx * 2u + 1u] = r1_1;
      weights[(ty * 8u + 2u) * 16u + tx * 2u + 0u] = r2_0;
      weights[(ty * 8u + 2u) * 16u + tx * 2u + 1u] = r2_1;
      weights[(ty * 8u + 3u) * 16u + tx * 2u + 0u] = r3_0;
      weights[(ty * 8u + 3u) * 16u + tx * 2u + 1u] = r3_1;
      weights[(ty * 8u + 4u) * 16u + tx * 2u + 0u] = r4_0;
      weights[(ty * 8u + 4u) * 16u + tx * 2u + 1u] = r4_1;
      weights[(ty * 8u + 5u) * 16u + tx * 2u + 0u] = r5_0;
      weights[(ty * 8u + 5u) * 16u + tx * 2u + 1u] = r5_1;
      weights[(ty * 8u + 6u) * 16u + tx * 2u + 0u] = r6_0;
      weights[(ty * 8u + 6u) * 16u + tx * 2u + 1u] = r6_1;
      weights[(ty * 8u + 7u) * 16u + tx * 2u + 0u] = r7_0;
      weights[(ty * 8u + 7u) * 16u + tx * 2u + 1u] = r7_1;
      for (var t0 = 0u; t0 < 64u; t0 += 32u) {
        workgroupBarrier();
        for (var item = lane; item < 512u; item += 64u) {
          let v = qAt(qBase, rowStart + t0 + item / 16u, params.queryLength, qStride, (item % 16u) * 4u);
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
          ok0_0 = fma(vec4<f32>(w0[0]), r0, ok0_0);
          ok0_1 = fma(vec4<f32>(w0[0]), r1, ok0_1);
          ok1_0 = fma(vec4<f32>(w0[1]), r0, ok1_0);
          ok1_1 = fma(vec4<f32>(w0[1]), r1, ok1_1);
          ok2_0 = fma(vec4<f32>(w0[2]), r0, ok2_0);
          ok2_1 = fma(vec4<f32>(w0[2]), r1, ok2_1);
          ok3_0 = fma(vec4<f32>(w0[3]), r0, ok3_0);
          ok3_1 = fma(vec4<f32>(w0[3]), r1, ok3_1);
          ok4_0 = fma(vec4<f32>(w1[0]), r0, ok4_0);
          ok4_1 = fma(vec4<f32>(w1[0]), r1, ok4_1);
          ok5_0 = fma(vec4<f32>(w1[1]), r0, ok5_0);
          ok5_1 = fma(vec4<f32>(w1[1]), r1, ok5_1);
          ok6_0 = fma(vec4<f32>(w1[2]), r0, ok6_0);
          ok6_1 = fma(vec4<f32>(w1[2]), r1, ok6_1);
          ok7_0 = fma(vec4<f32>(w1[3]), r0, ok7_0);
          ok7_1 = fma(vec4<f32>(w1[3]), r1, ok7_1);
        }
      }
    }
  }
  let kBase = (b * params.keyCapacity * params.kvHeads + group.y) * params.headDim;
  let kStride = params.kvHeads * params.headDim;
  if (keyStart + line + 0u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 0u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok0_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 0u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok0_1); }
  }
  if (keyStart + line + 1u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 1u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok1_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 1u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok1_1); }
  }
  if (keyStart + line + 2u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 2u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok2_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 2u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok2_1); }
  }
  if (keyStart + line + 3u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 3u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok3_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 3u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok3_1); }
  }
  if (keyStart + line + 4u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 4u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok4_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 4u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok4_1); }
  }
  if (keyStart + line + 5u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 5u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok5_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 5u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok5_1); }
  }
  if (keyStart + line + 6u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 6u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok6_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 6u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok6_1); }
  }
  if (keyStart + line + 7u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dk[(kBase + (keyStart + line + 7u) * kStride) / 4u + column + 0u] = vec4<f32>(params.scale * ok7_0); }
    if (4u * (column + 8u) < params.headDim) { dk[(kBase + (keyStart + line + 7u) * kStride) / 4u + column + 8u] = vec4<f32>(params.scale * ok7_1); }
  }
  if (keyStart + line + 0u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 0u) * kStride) / 4u + column + 0u] = vec4<f32>(ov0_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 0u) * kStride) / 4u + column + 8u] = vec4<f32>(ov0_1); }
  }
  if (keyStart + line + 1u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 1u) * kStride) / 4u + column + 0u] = vec4<f32>(ov1_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 1u) * kStride) / 4u + column + 8u] = vec4<f32>(ov1_1); }
  }
  if (keyStart + line + 2u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 2u) * kStride) / 4u + column + 0u] = vec4<f32>(ov2_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 2u) * kStride) / 4u + column + 8u] = vec4<f32>(ov2_1); }
  }
  if (keyStart + line + 3u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 3u) * kStride) / 4u + column + 0u] = vec4<f32>(ov3_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 3u) * kStride) / 4u + column + 8u] = vec4<f32>(ov3_1); }
  }
  if (keyStart + line + 4u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 4u) * kStride) / 4u + column + 0u] = vec4<f32>(ov4_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 4u) * kStride) / 4u + column + 8u] = vec4<f32>(ov4_1); }
  }
  if (keyStart + line + 5u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 5u) * kStride) / 4u + column + 0u] = vec4<f32>(ov5_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 5u) * kStride) / 4u + column + 8u] = vec4<f32>(ov5_1); }
  }
  if (keyStart + line + 6u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 6u) * kStride) / 4u + column + 0u] = vec4<f32>(ov6_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 6u) * kStride) / 4u + column + 8u] = vec4<f32>(ov6_1); }
  }
  if (keyStart + line + 7u < params.keyLength) {
    if (4u * (column + 0u) < params.headDim) { dv[(kBase + (keyStart + line + 7u) * kStride) / 4u + column + 0u] = vec4<f32>(ov7_0); }
    if (4u * (column + 8u) < params.headDim) { dv[(kBase + (keyStart + line + 7u) * kStride) / 4u + column + 8u] = vec4<f32>(ov7_1); }
  }
}
