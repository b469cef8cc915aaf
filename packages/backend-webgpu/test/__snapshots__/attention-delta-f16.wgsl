enable f16;
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
@group(0) @binding(1) var<storage, read> plainSum: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dOutput: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> activeSum: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> rows: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> tauTerms: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let id = (group.y * groups.x + group.x) * 64u + lane;
  if (id >= params.rows) { return; }
  let h = id % params.heads;
  let r = (id / params.heads) % params.queryLength;
  let b = id / (params.heads * params.queryLength);
  let at = (b * params.heads + h) * params.queryLength + r;
  let vectors = params.headDim / 4u;
  let stat = stats[at];
  var delta = 0.0;
  var withActive = 0.0;
  for (var d = 0u; d < vectors; d++) {
    let gradient = vec4<f32>(dOutput[id * vectors + d]);
    let value = plainSum[id * vectors + d];
    if (params.hasTau != 0u) { withActive += dot(gradient, activeSum[id * vectors + d]); }
    // In the order in which the tiled kernels sum dO . v, so that m g - delta is exactly 0 where one key has all of p.
    delta = fma(gradient.w, value.w, fma(gradient.z, value.z, fma(gradient.y, value.y, fma(gradient.x, value.x, delta))));
  }
  rows[2u * at] = stat;
  rows[2u * at + 1u] = vec4<f32>(delta, 0.0, 0.0, 0.0);
  tauTerms[at] = withActive / f32(r + params.keyLength - params.queryLength - u32(stat.w) + 1u);
}
