enable f16;
enable subgroups;
struct Params {
  width: u32,
  inner: u32,
  innerAt: u32,
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> norm: array<f16>;
@group(0) @binding(3) var<storage, read> gate: array<f16>;
@group(0) @binding(4) var<storage, read> up: array<f16>;
const rowThreads = 64u;
var<workgroup> totalValues: array<f32, 64>;
fn total(value: f32, lane: u32) -> f32 {
  let part = subgroupAdd(value);
  totalValues[lane] = select(0.0, part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = 0.0;
  for (var i = rank; i < 64u; i += members) { mine = mine + totalValues[i]; }
  let result = subgroupAdd(mine);
  workgroupBarrier();
  return result;
}
var<workgroup> total4Values: array<vec4<f32>, 64>;
fn total4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  let part = subgroupAdd(value);
  total4Values[lane] = select(vec4<f32>(), part, lane == subgroupMin(lane));
  let members = subgroupAdd(1u);
  let rank = subgroupExclusiveAdd(1u);
  workgroupBarrier();
  var mine = vec4<f32>();
  for (var i = rank; i < 64u; i += members) { mine = mine + total4Values[i]; }
  let result = subgroupAdd(mine);
  workgroupBarrier();
  return result;
}
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let b = group.y;
  let xAt = b * params.width;
  let first = group.x * 2u;
  let second = min(first + 1u, params.inner - 1u);
  var squares = 0.0;
  for (var j = lane; j < params.width; j += rowThreads) {
    let value = state[xAt + j];
    squares += value * value;
  }
  let factor = 1.0 / sqrt(total(squares, lane) / f32(params.width) + params.epsilon);
  var sums = vec4<f32>();
  {
    let lines = params.width;
    for (var j = lane; j < lines; j += rowThreads) {
      let value = state[xAt + j] * f32(norm[j]);
      sums += vec4<f32>(f32(gate[(first) * lines + j]) * value, f32(gate[(second) * lines + j]) * value, f32(up[(first) * lines + j]) * value, f32(up[(second) * lines + j]) * value);
    }
  }
  let result = total4(sums, lane) * factor;
  let e = exp(-abs(result.xy));
  let sigmoid = select(e, vec2<f32>(1.0), result.xy >= vec2<f32>()) / (1.0 + e);
  let inner = result.xy * sigmoid * result.zw;
  if (lane < 2u && first + lane < params.inner) {
    state[params.innerAt + b * params.inner + first + lane] = inner[lane];
  }
}
