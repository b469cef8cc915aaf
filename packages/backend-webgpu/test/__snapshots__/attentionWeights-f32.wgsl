struct Params {
  pairs: u32,
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
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.pairs) { return; }
  let j = i % params.keyLength;
  let r = (i / params.keyLength) % params.queryLength;
  let h = (i / (params.keyLength * params.queryLength)) % params.heads;
  let b = i / (params.keyLength * params.queryLength * params.heads);
  let position = r + params.keyLength - params.queryLength;
  var score = 0.0;
  if (j <= position) {
    let kvHead = h / (params.heads / params.kvHeads);
    let qRow = ((b * params.queryLength + r) * params.heads + h) * params.headDim;
    let kRow = ((b * params.keyCapacity + j) * params.kvHeads + kvHead) * params.headDim;
    for (var d = 0u; d < params.headDim; d++) { score += f32(q[qRow + d]) * f32(k[kRow + d]); }
    score *= params.scale;
    if (position - j < params.window) { score += bias[h * params.window + position - j]; }
  }
  scores[i] = score;
}
