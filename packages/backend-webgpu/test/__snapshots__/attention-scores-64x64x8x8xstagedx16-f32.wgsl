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
@group(0) @binding(3) var<storage, read_write> strip: array<vec4<f32>>;
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
  let lastRow = min(rowStart + 64u, params.rowCount) - 1u;
  if (columnStart > params.blockRow + lastRow + qOffset) { return; }
  if (columnStart + 64u <= startOf(batch, rowStart)) { return; }
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
  for (var k0 = 0u; k0 < params.headDim; k0 += 16u) {
    {
      let item = lane + 0u;
      let outer = (item / 4u) * 4u;
      let inner = (item % 4u) * 4u;
      let v0 = aLoad(rowBase + (rowStart + outer + 0u) * params.heads * params.headDim, rowStart + outer + 0u, k0 + inner, params.rowCount, params.headDim);
      let v1 = aLoad(rowBase + (rowStart + outer + 1u) * params.heads * params.headDim, rowStart + outer + 1u, k0 + inner, params.rowCount, params.headDim);
      let v2 = aLoad(rowBase + (rowStart + outer + 2u) * params.heads * params.headDim, rowStart + outer + 2u, k0 + inner, params.rowCount, params.headDim);
      let v3 = aLoad(rowBase + (rowStart + outer + 3u) * params.heads * params.headDim, rowStart + outer + 3u, k0 + inner, params.rowCount, params.headDim);
      tileA[((inner + 0u) * 64u + outer) / 4u] = vec4<f32>(v0[0], v1[0], v2[0], v3[0]);
      tileA[((inner + 1u) * 64u + outer) / 4u] = vec4<f32>(v0[1], v1[1], v2[1], v3[1]);
      tileA[((inner + 2u) * 64u + outer) / 4u] = vec4<f32>(v0[2], v1[2], v2[2], v3[2]);
      tileA[((inner + 3u) * 64u + outer) / 4u] = vec4<f32>(v0[3], v1[3], v2[3], v3[3]);
    }
    {
      let item = lane + 0u;
      let outer = (item / 4u) * 4u;
      let inner = (item % 4u) * 4u;
      let v0 = bLoad(keyBase + (columnStart + outer + 0u) * params.kvHeads * params.headDim, columnStart + outer + 0u, k0 + inner, params.keyLength, params.headDim);
      let v1 = bLoad(keyBase + (columnStart + outer + 1u) * params.kvHeads * params.headDim, columnStart + outer + 1u, k0 + inner, params.keyLength, params.headDim);
      let v2 = bLoad(keyBase + (columnStart + outer + 2u) * params.kvHeads * params.headDim, columnStart + outer + 2u, k0 + inner, params.keyLength, params.headDim);
      let v3 = bLoad(keyBase + (columnStart + outer + 3u) * params.kvHeads * params.headDim, columnStart + outer + 3u, k0 + inner, params.keyLength, params.headDim);
      tileB[((inner + 0u) * 64u + outer) / 4u] = vec4<f32>(v0[0], v1[0], v2[0], v3[0]);
      tileB[((inner + 1u) * 64u + outer) / 4u] = vec4<f32>(v0[1], v1[1], v2[1], v3[1]);
      tileB[((inner + 2u) * 64u + outer) / 4u] = vec4<f32>(v0[2], v1[2], v2[2], v3[2]);
      tileB[((inner + 3u) * 64u + outer) / 4u] = vec4<f32>(v0[3], v1[3], v2[3], v3[3]);
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
    let line = stripBase + (row + 0u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c0_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c0_1); }
  }
  if (row + 1u < params.rowCount) {
    let line = stripBase + (row + 1u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c1_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c1_1); }
  }
  if (row + 2u < params.rowCount) {
    let line = stripBase + (row + 2u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c2_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c2_1); }
  }
  if (row + 3u < params.rowCount) {
    let line = stripBase + (row + 3u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c3_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c3_1); }
  }
  if (row + 4u < params.rowCount) {
    let line = stripBase + (row + 4u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c4_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c4_1); }
  }
  if (row + 5u < params.rowCount) {
    let line = stripBase + (row + 5u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c5_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c5_1); }
  }
  if (row + 6u < params.rowCount) {
    let line = stripBase + (row + 6u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c6_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c6_1); }
  }
  if (row + 7u < params.rowCount) {
    let line = stripBase + (row + 7u) * params.stripWidth;
    if (column + 0u < params.stripWidth) { strip[(line + column) / 4u + 0u] = vec4<f32>(params.factor * c7_0); }
    if (column + 4u < params.stripWidth) { strip[(line + column) / 4u + 1u] = vec4<f32>(params.factor * c7_1); }
  }
}
