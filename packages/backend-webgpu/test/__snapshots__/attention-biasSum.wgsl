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
  biases: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> dbias: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.biases) { return; }
  let h = i / params.window;
  let d = i % params.window;
  let rowGroups = (params.rowCount + 63u) / 64u;
  var sum = 0.0;
  if (params.accumulate != 0u) { sum = dbias[i]; }
  if (d < params.biasWidth) {
    let first = (h + params.heads - params.firstHead % params.heads) % params.heads;
    for (var z = first; z < params.headCount; z += params.heads) {
      for (var t = 0u; t < rowGroups; t++) { sum += partial[(z * rowGroups + t) * params.biasWidth + d]; }
    }
  }
  dbias[i] = sum;
}
