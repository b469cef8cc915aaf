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
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> starts: array<i32>;
var<workgroup> tileA: array<vec4<f32>, 256>;
var<workgroup> tileB: array<vec4<f32>, 256>;
fn aLoad(line0: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {
  if (line >= lines || position >= positions) { return vec4<f32>(); }
  return vec4<f32>(a[(line0 + position) / 4u]);
}
fn bLoad(line0: u32, line: u32, position: u32, lines: u32, positions: u32) -> vec4<f32> {
  if (line >= lines || position >= positions) { return vec4<f32>(); }
  return vec4<f32>(b[(line0 + position) / 4u]);
}
fn startOf(batch: u32, row: u32) -> u32 {
  if (params.hasStarts == 0u) { return 0u; }
  return u32(starts[batch * params.queryLength + params.blockRow + row]);
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let batch = (params.firstHead + group.z) / params.heads;
  let h = (params.firstHead + group.z) % params.heads;
  let kvHead = h / (params.heads / params.kvHeads);
  let qOffset = params.keyLength - params.queryLength;
  let stripBase = group.z * params.rowCount * params.stripWidth;
  let rowBase = ((batch * params.queryLength + params.blockRow) * params.heads + h) * params.headDim;
  let keyBase = (batch * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;
  let rowStart = group.y * 64u;
  let columnStart = group.x * 64u;
  let firstKey = startOf(batch, rowStart) / 64u * 64u;
  let endKey = params.blockRow + min(rowStart + 64u, params.rowCount) + qOffset;
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
  for (var k0 = firstKey; k0 < endKey; k0 += 16u) {
    {
      let item = lane + 0u;
      let outer = (item / 4u) * 4u;
      let inner = (item % 4u) * 4u;
      let v0 = aLoad(stripBase + (rowStart + outer + 0u) * params.stripWidth, rowStart + outer + 0u, k0 + inner, params.rowCount, endKey);
      let v1 = aLoad(stripBase + (rowStart + outer + 1u) * params.stripWidth, rowStart + outer + 1u, k0 + inner, params.rowCount, endKey);
      let v2 = aLoad(stripBase + (rowStart + outer + 2u) * params.stripWidth, rowStart + outer + 2u, k0 + inner, params.rowCount, endKey);
      let v3 = aLoad(stripBase + (rowStart + outer + 3u) * params.stripWidth, rowStart + outer + 3u, k0 + inner, params.rowCount, endKey);
      tileA[((inner + 0u) * 64u + outer) / 4u] = vec4<f32>(v0[0], v1[0], v2[0], v3[0]);
      tileA[((inner + 1u) * 64u + outer) / 4u] = vec4<f32>(v0[1], v1[1], v2[1], v3[1]);
      tileA[((inner + 2u) * 64u + outer) / 4u] = vec4<f32>(v0[2], v1[2], v2[2], v3[2]);
      tileA[((inner + 3u) * 64u + outer) / 4u] = vec4<f32>(v0[3], v1[3], v2[3], v3[3]);
    }
    {
      let item = lane + 0u;
      let inner = (item / 16u) * 4u;
      let outer = (item % 16u) * 4u;
      tileB[((inner + 0u) * 64u + outer) / 4u] = bLoad(keyBase + (k0 + inner + 0u) * params.kvHeads * params.headDim, k0 + inner + 0u, columnStart + outer, endKey, params.headDim);
      tileB[((inner + 1u) * 64u + outer) / 4u] = bLoad(keyBase + (k0 + inner + 1u) * params.kvHeads * params.headDim, k0 + inner + 1u, columnStart + outer, endKey, params.headDim);
      tileB[((inner + 2u) * 64u + outer) / 4u] = bLoad(keyBase + (k0 + inner + 2u) * params.kvHeads * params.headDim, k0 + inner + 2u, columnStart + outer, endKey, params.headDim);
      tileB[((inner + 3u) * 64u + outer) / 4u] = bLoad(keyBase + (k0 + inner + 3u) * params.kvHeads * params.headDim, k0 + inner + 3u, columnStart + outer, endKey, params.headDim);
    }
    workgroupBarrier();
    for (var kk = 0u; kk < 16u; kk++) {
      let a0 = tileA[kk * 16u + (lane / 8u) * 2u + 0u];
      let a1 = tileA[kk * 16u + (lane / 8u) * 2u + 1u];
      let b0 = tileB[kk * 16u + (lane % 8u) * 2u + 0u];
      let b1 = tileB[kk * 16u + (lane % 8u) * 2u + 1u];
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
    workgroupBarrier();
  }
  if (row + 0u < params.rowCount) {
    let line = rowBase + (row + 0u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c0_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c0_1); }
  }
  if (row + 1u < params.rowCount) {
    let line = rowBase + (row + 1u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c1_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c1_1); }
  }
  if (row + 2u < params.rowCount) {
    let line = rowBase + (row + 2u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c2_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c2_1); }
  }
  if (row + 3u < params.rowCount) {
    let line = rowBase + (row + 3u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c3_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c3_1); }
  }
  if (row + 4u < params.rowCount) {
    let line = rowBase + (row + 4u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c4_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c4_1); }
  }
  if (row + 5u < params.rowCount) {
    let line = rowBase + (row + 5u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c5_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c5_1); }
  }
  if (row + 6u < params.rowCount) {
    let line = rowBase + (row + 6u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c6_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c6_1); }
  }
  if (row + 7u < params.rowCount) {
    let line = rowBase + (row + 7u) * params.heads * params.headDim;
    if (column + 0u < params.headDim) { out[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c7_0); }
    if (column + 4u < params.headDim) { out[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c7_1); }
  }
}
