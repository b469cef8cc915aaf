struct Params {
  results: u32,
  length: u32,
  inner: u32,
  splits: u32,
  perSplit: u32,
  divisor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn valueOf(rank: u32) -> f32 {
  return bitcast<f32>(select(~rank, rank & 0x7fffffffu, rank >= 0x80000000u));
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.results) { return; }
  let split = (i / params.inner) % params.splits;
  let first = split * params.perSplit;
  let end = min(first + params.perSplit, params.length);
  let base = i / (params.inner * params.splits) * params.length * params.inner + i % params.inner;
  var best = 0u;
  for (var j = first; j < end; j++) {
    let value = f32(x[base + j * params.inner]);
    best = max(best, rank(-value));
  }
  out[i] = f32(-valueOf(best));
}
