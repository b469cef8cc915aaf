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
@group(0) @binding(1) var<storage, read> grads: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<i32>;
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
  let d = group.x * 64u + lane;
  if (d >= params.biasWidth) { return; }
  let batch = (params.firstHead + group.z) / params.heads;
  let h = (params.firstHead + group.z) % params.heads;
  let kvHead = h / (params.heads / params.kvHeads);
  let qOffset = params.keyLength - params.queryLength;
  let stripBase = group.z * params.rowCount * params.stripWidth;
  let rowBase = ((batch * params.queryLength + params.blockRow) * params.heads + h) * params.headDim;
  let keyBase = (batch * params.keyCapacity * params.kvHeads + kvHead) * params.headDim;
  let end = min((group.y + 1u) * 64u, params.rowCount);
  var sum = 0.0;
  for (var r = group.y * 64u; r < end; r++) {
    let position = params.blockRow + r + qOffset;
    if (position >= d + startOf(batch, r)) { sum += grads[stripBase + r * params.stripWidth + position - d]; }
  }
  partial[(group.z * groups.y + group.y) * params.biasWidth + d] = sum;
}
