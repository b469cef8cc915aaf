struct Params {
  vectors: u32,
  beta1: f32,
  beta2: f32,
  oneMinusBeta1: f32,
  oneMinusBeta2: f32,
  decay: f32,
  stepSize: f32,
  inverseCorrection2: f32,
  epsilon: f32,
  maxNorm: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> firsts: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> seconds: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> normSquared: array<f32>;
@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.y * groups.x + group.x) * 64u + lane;
  if (i >= params.vectors) { return; }
  let ratio = params.maxNorm / (sqrt(normSquared[0]) + 1e-6);
  let g = grads[i] * select(ratio, 1.0, bitcast<u32>(ratio) - 0x3f800000u <= 0x40000000u);
  let m = params.beta1 * firsts[i] + params.oneMinusBeta1 * g;
  let v = params.beta2 * seconds[i] + params.oneMinusBeta2 * g * g;
  firsts[i] = m;
  seconds[i] = v;
  let weight = weights[i];
  let step = params.stepSize * m / (sqrt(v * params.inverseCorrection2) + params.epsilon);
  weights[i] = weight - params.decay * weight - step;
}
