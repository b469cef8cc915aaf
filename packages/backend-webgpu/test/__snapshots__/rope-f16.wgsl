enable f16;
struct Params {
  pairs: u32,
  half: u32,
  heads: u32,
  length: u32,
  offset: u32,
  firstHigh: u32,
  sign: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read> low: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> high: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f16>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.pairs) { return; }
  let d = i % params.half;
  let row = i / params.half;
  let position = params.offset + (row / params.heads) % params.length;
  let a = low[(position & 255u) * params.half + d];
  let b = high[((position >> 8u) - params.firstHigh) * params.half + d];
  let cosine = a.x * b.x - a.y * b.y;
  let sine = params.sign * (a.y * b.x + a.x * b.y);
  let at = row * 2u * params.half + d;
  let first = f32(x[at]);
  let second = f32(x[at + params.half]);
  y[at] = f16(first * cosine - second * sine);
  y[at + params.half] = f16(second * cosine + first * sine);
}
