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
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> starts: array<i32>;
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
  {
    let aPlace0 = stripBase + min(row + 0u, params.rowCount - 1u) * params.stripWidth;
    let aPlace1 = stripBase + min(row + 1u, params.rowCount - 1u) * params.stripWidth;
    let aPlace2 = stripBase + min(row + 2u, params.rowCount - 1u) * params.stripWidth;
    let aPlace3 = stripBase + min(row + 3u, params.rowCount - 1u) * params.stripWidth;
    let aPlace4 = stripBase + min(row + 4u, params.rowCount - 1u) * params.stripWidth;
    let aPlace5 = stripBase + min(row + 5u, params.rowCount - 1u) * params.stripWidth;
    let aPlace6 = stripBase + min(row + 6u, params.rowCount - 1u) * params.stripWidth;
    let aPlace7 = stripBase + min(row + 7u, params.rowCount - 1u) * params.stripWidth;
    let bPlace0 = keyBase + min(column + 0u, params.headDim - 4u);
    let bPlace1 = keyBase + min(column + 4u, params.headDim - 4u);
    for (var k = firstKey; k < endKey; k += 1u) {
      {
        let a0 = vec4<f32>(f32(a[aPlace0 + k]), f32(a[aPlace1 + k]), f32(a[aPlace2 + k]), f32(a[aPlace3 + k]));
        let a1 = vec4<f32>(f32(a[aPlace4 + k]), f32(a[aPlace5 + k]), f32(a[aPlace6 + k]), f32(a[aPlace7 + k]));
        let b0 = vec4<f32>(b[(bPlace0 + k * params.kvHeads * params.headDim) / 4u]);
        let b1 = vec4<f32>(b[(bPlace1 + k * params.kvHeads * params.headDim) / 4u]);
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
