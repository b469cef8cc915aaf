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
@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f16>>;
var<workgroup> tileA: array<vec4<f32>, 32>;
var<workgroup> tileB: array<vec4<f32>, 512>;
fn aLoad(line0: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {
  if (line >= lines || position >= positions) { return vec4<f32>(); }
  return vec4<f32>(a[(line0 + position) / 4u]);
}
fn bLoad(line0: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {
  if (line >= lines || position >= positions) { return vec4<f32>(); }
  return vec4<f32>(b[(line0 + position) / 4u]);
}
@compute @workgroup_size(32)
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
  let rowStart = group.y * 8u;
  let columnStart = group.x * 128u;
  let row = rowStart + (lane / 32u) * 8u;
  let column = columnStart + (lane % 32u) * 4u;
  var c0_0 = vec4<f32>();
  var c1_0 = vec4<f32>();
  var c2_0 = vec4<f32>();
  var c3_0 = vec4<f32>();
  var c4_0 = vec4<f32>();
  var c5_0 = vec4<f32>();
  var c6_0 = vec4<f32>();
  var c7_0 = vec4<f32>();
  for (var k0 = kStart; k0 < kEnd; k0 += 16u) {
    {
      let item = lane + 0u;
      if (item < 8u) {
        let outer = (item / 4u) * 4u;
        let inner = (item % 4u) * 4u;
        let v0 = aLoad(aBase + (rowStart + outer + 0u) * params.aStride, rowStart + outer + 0u, k0 + inner, params.m, kEnd);
        let v1 = aLoad(aBase + (rowStart + outer + 1u) * params.aStride, rowStart + outer + 1u, k0 + inner, params.m, kEnd);
        let v2 = aLoad(aBase + (rowStart + outer + 2u) * params.aStride, rowStart + outer + 2u, k0 + inner, params.m, kEnd);
        let v3 = aLoad(aBase + (rowStart + outer + 3u) * params.aStride, rowStart + outer + 3u, k0 + inner, params.m, kEnd);
        tileA[((inner + 0u) * 8u + outer) / 4u] = vec4<f32>(v0[0], v1[0], v2[0], v3[0]);
        tileA[((inner + 1u) * 8u + outer) / 4u] = vec4<f32>(v0[1], v1[1], v2[1], v3[1]);
        tileA[((inner + 2u) * 8u + outer) / 4u] = vec4<f32>(v0[2], v1[2], v2[2], v3[2]);
        tileA[((inner + 3u) * 8u + outer) / 4u] = vec4<f32>(v0[3], v1[3], v2[3], v3[3]);
      }
    }
    for (var item = lane; item < 128u; item += 32u) {
      let outer = (item / 4u) * 4u;
      let inner = (item % 4u) * 4u;
      let v0 = bLoad(bBase + (columnStart + outer + 0u) * params.bStride, columnStart + outer + 0u, k0 + inner, params.n, kEnd);
      let v1 = bLoad(bBase + (columnStart + outer + 1u) * params.bStride, columnStart + outer + 1u, k0 + inner, params.n, kEnd);
      let v2 = bLoad(bBase + (columnStart + outer + 2u) * params.bStride, columnStart + outer + 2u, k0 + inner, params.n, kEnd);
      let v3 = bLoad(bBase + (columnStart + outer + 3u) * params.bStride, columnStart + outer + 3u, k0 + inner, params.n, kEnd);
      tileB[((inner + 0u) * 128u + outer) / 4u] = vec4<f32>(v0[0], v1[0], v2[0], v3[0]);
      tileB[((inner + 1u) * 128u + outer) / 4u] = vec4<f32>(v0[1], v1[1], v2[1], v3[1]);
      tileB[((inner + 2u) * 128u + outer) / 4u] = vec4<f32>(v0[2], v1[2], v2[2], v3[2]);
      tileB[((inner + 3u) * 128u + outer) / 4u] = vec4<f32>(v0[3], v1[3], v2[3], v3[3]);
    }
    workgroupBarrier();
    for (var kk = 0u; kk < 16u; kk++) {
      let a0 = tileA[kk * 2u + (lane / 32u) * 2u + 0u];
      let a1 = tileA[kk * 2u + (lane / 32u) * 2u + 1u];
      let b0 = tileB[kk * 32u + (lane % 32u) * 1u + 0u];
      c0_0 = fma(vec4<f32>(a0[0]), b0, c0_0);
      c1_0 = fma(vec4<f32>(a0[1]), b0, c1_0);
      c2_0 = fma(vec4<f32>(a0[2]), b0, c2_0);
      c3_0 = fma(vec4<f32>(a0[3]), b0, c3_0);
      c4_0 = fma(vec4<f32>(a1[0]), b0, c4_0);
      c5_0 = fma(vec4<f32>(a1[1]), b0, c5_0);
      c6_0 = fma(vec4<f32>(a1[2]), b0, c6_0);
      c7_0 = fma(vec4<f32>(a1[3]), b0, c7_0);
    }
    workgroupBarrier();
  }
  if (row + 0u < params.m) {
    let line = outBase + (row + 0u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c0_0); }
  }
  if (row + 1u < params.m) {
    let line = outBase + (row + 1u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c1_0); }
  }
  if (row + 2u < params.m) {
    let line = outBase + (row + 2u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c2_0); }
  }
  if (row + 3u < params.m) {
    let line = outBase + (row + 3u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c3_0); }
  }
  if (row + 4u < params.m) {
    let line = outBase + (row + 4u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c4_0); }
  }
  if (row + 5u < params.m) {
    let line = outBase + (row + 5u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c5_0); }
  }
  if (row + 6u < params.m) {
    let line = outBase + (row + 6u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c6_0); }
  }
  if (row + 7u < params.m) {
    let line = outBase + (row + 7u) * params.n;
    if (column + 0u < params.n) { out[(line + column) / 4u + 0u] = vec4<f16>(c7_0); }
  }
}
