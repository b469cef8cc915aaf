enable f16;
struct Params {
  m: u32,
  n: u32,
  k: u32,
  aStride: u32,
  bStride: u32,
  splits: u32,
  kPerSplit: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<f16>;
@group(0) @binding(3) var<storage, read_write> out: array<f16>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let batch = group.z / params.splits;
  let split = group.z % params.splits;
  let kStart = split * params.kPerSplit;
  let kEnd = min(kStart + params.kPerSplit, params.k);
  let aBase = batch * params.m * params.k;
  let bBase = batch * params.k * params.n;
  let outBase = group.z * params.m * params.n;
  let rowStart = group.y * 64u;
  let columnStart = group.x * 64u;
  let row = rowStart + (lane / 8u) * 8u;
  let column = columnStart + (lane % 8u) * 8u;
  var c0_0 = vec4<f32>();
  var c0_1 = vec4<f32>();
  var c1_0 = vec4<f32>();
  var c1_1 = vec4<f32>();
  var c2_0 = vec4<f32>();
  var c2_1 = vec4<f32>();
  var c3_0 = vec4<f32>();
  var c3_1 = vec4<f32>();
  var c4_0 = vec4<f32>();
  var c4_1 = vec4<f32>();
  var c5_0 = vec4<f32>();
  var c5_1 = vec4<f32>();
  var c6_0 = vec4<f32>();
  var c6_1 = vec4<f32>();
  var c7_0 = vec4<f32>();
  var c7_1 = vec4<f32>();
  {
    let aPlace0 = aBase + min(row + 0u, params.m - 1u) * params.aStride;
    let aPlace1 = aBase + min(row + 1u, params.m - 1u) * params.aStride;
    let aPlace2 = aBase + min(row + 2u, params.m - 1u) * params.aStride;
    let aPlace3 = aBase + min(row + 3u, params.m - 1u) * params.aStride;
    let aPlace4 = aBase + min(row + 4u, params.m - 1u) * params.aStride;
    let aPlace5 = aBase + min(row + 5u, params.m - 1u) * params.aStride;
    let aPlace6 = aBase + min(row + 6u, params.m - 1u) * params.aStride;
    let aPlace7 = aBase + min(row + 7u, params.m - 1u) * params.aStride;
    let bPlace0 = bBase + min(column + 0u, params.n - 1u) * params.bStride;
    let bPlace1 = bBase + min(column + 1u, params.n - 1u) * params.bStride;
    let bPlace2 = bBase + min(column + 2u, params.n - 1u) * params.bStride;
    let bPlace3 = bBase + min(column + 3u, params.n - 1u) * params.bStride;
    let bPlace4 = bBase + min(column + 4u, params.n - 1u) * params.bStride;
    let bPlace5 = bBase + min(column + 5u, params.n - 1u) * params.bStride;
    let bPlace6 = bBase + min(column + 6u, params.n - 1u) * params.bStride;
    let bPlace7 = bBase + min(column + 7u, params.n - 1u) * params.bStride;
    for (var k = kStart; k < kEnd; k += 1u) {
      {
        let a0 = vec4<f32>(f32(a[aPlace0 + k]), f32(a[aPlace1 + k]), f32(a[aPlace2 + k]), f32(a[aPlace3 + k]));
        let a1 = vec4<f32>(f32(a[aPlace4 + k]), f32(a[aPlace5 + k]), f32(a[aPlace6 + k]), f32(a[aPlace7 + k]));
        let b0 = vec4<f32>(f32(b[bPlace0 + k]), f32(b[bPlace1 + k]), f32(b[bPlace2 + k]), f32(b[bPlace3 + k]));
        let b1 = vec4<f32>(f32(b[bPlace4 + k]), f32(b[bPlace5 + k]), f32(b[bPlace6 + k]), f32(b[bPlace7 + k]));
        c0_0 = fma(vec4<f32>(a0[0]), b0, c0_0);
        c0_1 = fma(vec4<f32>(a0[0]), b1, c0_1);
        c1_0 = fma(vec4<f32>(a0[1]), b0, c1_0);
        c1_1 = fma(vec4<f32>(a0[1]), b1, c1_1);
        c2_0 = fma(vec4<f32>(a0[2]), b0, c2_0);
        c2_1 = fma(vec4<f32>(a0[2]), b1, c2_1);
        c3_0 = fma(vec4<f32>(a0[3]), b0, c3_0);
        c3_1 = fma(vec4<f32>(a0[3]), b1, c3_1);
        c4_0 = fma(vec4<f32>(a1[0]), b0, c4_0);
        c4_1 = fma(vec4<f32>(a1[0]), b1, c4_1);
        c5_0 = fma(vec4<f32>(a1[1]), b0, c5_0);
        c5_1 = fma(vec4<f32>(a1[1]), b1, c5_1);
        c6_0 = fma(vec4<f32>(a1[2]), b0, c6_0);
        c6_1 = fma(vec4<f32>(a1[2]), b1, c6_1);
        c7_0 = fma(vec4<f32>(a1[3]), b0, c7_0);
        c7_1 = fma(vec4<f32>(a1[3]), b1, c7_1);
      }
    }
  }
  {
    let line = outBase + min(row + 0u, params.m - 1u) * params.n;
    c0_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c0_0;
    c0_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c0_1;
  }
  {
    let line = outBase + min(row + 1u, params.m - 1u) * params.n;
    c1_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c1_0;
    c1_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c1_1;
  }
  {
    let line = outBase + min(row + 2u, params.m - 1u) * params.n;
    c2_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c2_0;
    c2_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c2_1;
  }
  {
    let line = outBase + min(row + 3u, params.m - 1u) * params.n;
    c3_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c3_0;
    c3_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c3_1;
  }
  {
    let line = outBase + min(row + 4u, params.m - 1u) * params.n;
    c4_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c4_0;
    c4_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c4_1;
  }
  {
    let line = outBase + min(row + 5u, params.m - 1u) * params.n;
    c5_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c5_0;
    c5_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c5_1;
  }
  {
    let line = outBase + min(row + 6u, params.m - 1u) * params.n;
    c6_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c6_0;
    c6_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c6_1;
  }
  {
    let line = outBase + min(row + 7u, params.m - 1u) * params.n;
    c7_0 = vec4<f32>(f32(out[line + min(column + 0u, params.n - 1u)]), f32(out[line + min(column + 1u, params.n - 1u)]), f32(out[line + min(column + 2u, params.n - 1u)]), f32(out[line + min(column + 3u, params.n - 1u)])) + c7_0;
    c7_1 = vec4<f32>(f32(out[line + min(column + 4u, params.n - 1u)]), f32(out[line + min(column + 5u, params.n - 1u)]), f32(out[line + min(column + 6u, params.n - 1u)]), f32(out[line + min(column + 7u, params.n - 1u)])) + c7_1;
  }
  if (row + 0u < params.m) {
    let line = outBase + (row + 0u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c0_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c0_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c0_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c0_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c0_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c0_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c0_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c0_1)[3]); }
  }
  if (row + 1u < params.m) {
    let line = outBase + (row + 1u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c1_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c1_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c1_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c1_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c1_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c1_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c1_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c1_1)[3]); }
  }
  if (row + 2u < params.m) {
    let line = outBase + (row + 2u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c2_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c2_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c2_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c2_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c2_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c2_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c2_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c2_1)[3]); }
  }
  if (row + 3u < params.m) {
    let line = outBase + (row + 3u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c3_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c3_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c3_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c3_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c3_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c3_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c3_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c3_1)[3]); }
  }
  if (row + 4u < params.m) {
    let line = outBase + (row + 4u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c4_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c4_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c4_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c4_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c4_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c4_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c4_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c4_1)[3]); }
  }
  if (row + 5u < params.m) {
    let line = outBase + (row + 5u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c5_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c5_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c5_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c5_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c5_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c5_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c5_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c5_1)[3]); }
  }
  if (row + 6u < params.m) {
    let line = outBase + (row + 6u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c6_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c6_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c6_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c6_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c6_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c6_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c6_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c6_1)[3]); }
  }
  if (row + 7u < params.m) {
    let line = outBase + (row + 7u) * params.n;
    if (column + 0u < params.n) { out[line + column + 0u] = f16((c7_0)[0]); }
    if (column + 1u < params.n) { out[line + column + 1u] = f16((c7_0)[1]); }
    if (column + 2u < params.n) { out[line + column + 2u] = f16((c7_0)[2]); }
    if (column + 3u < params.n) { out[line + column + 3u] = f16((c7_0)[3]); }
    if (column + 4u < params.n) { out[line + column + 4u] = f16((c7_1)[0]); }
    if (column + 5u < params.n) { out[line + column + 5u] = f16((c7_1)[1]); }
    if (column + 6u < params.n) { out[line + column + 6u] = f16((c7_1)[2]); }
    if (column + 7u < params.n) { out[line + column + 7u] = f16((c7_1)[3]); }
  }
}
