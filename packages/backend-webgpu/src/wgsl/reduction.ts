import { LOWEST } from './numbers.ts';

/**
 * Reductions of one value per invocation, known to all: functions `total(value, lane)` and `largest(value, lane)` of f32, `total4` of vec4<f32>,
 * `highest(value, lane)` and `lowest(value, lane)` of u32. Every invocation of the workgroup has to call them.
 */
export type Reduction = 'total' | 'total4' | 'largest' | 'highest' | 'lowest';

interface Operation {
  readonly type: 'f32' | 'u32' | 'vec4<f32>';
  readonly identity: string;
  readonly subgroup: string;
  combine(a: string, b: string): string;
}

const OPERATIONS: Record<Reduction, Operation> = {
  total: { type: 'f32', identity: '0.0', subgroup: 'subgroupAdd', combine: (a, b) => `${a} + ${b}` },
  total4: { type: 'vec4<f32>', identity: 'vec4<f32>()', subgroup: 'subgroupAdd', combine: (a, b) => `${a} + ${b}` },
  largest: { type: 'f32', identity: LOWEST, subgroup: 'subgroupMax', combine: (a, b) => `max(${a}, ${b})` },
  highest: { type: 'u32', identity: '0u', subgroup: 'subgroupMax', combine: (a, b) => `max(${a}, ${b})` },
  lowest: { type: 'u32', identity: '0xffffffffu', subgroup: 'subgroupMin', combine: (a, b) => `min(${a}, ${b})` },
};

/** Module-scope code that declares a reduction over `threads` invocations. */
export function reductionDeclarations(reduction: Reduction, threads: number, subgroups: boolean): string {
  return subgroups ? bySubgroups(reduction, threads) : byTree(reduction, threads);
}

/** Through workgroup memory in a fixed tree: log2(threads) + 2 barriers. */
function byTree(reduction: Reduction, threads: number): string {
  const { type, combine } = OPERATIONS[reduction];
  return `
    var<workgroup> ${reduction}Values: array<${type}, ${threads}>;
    fn ${reduction}(value: ${type}, lane: u32) -> ${type} {
      ${reduction}Values[lane] = value;
      workgroupBarrier();
      for (var stride = ${threads / 2}u; stride > 0u; stride /= 2u) {
        if (lane < stride) { ${reduction}Values[lane] = ${combine(`${reduction}Values[lane]`, `${reduction}Values[lane + stride]`)}; }
        workgroupBarrier();
      }
      let result = ${reduction}Values[0];
      workgroupBarrier();
      return result;
    }`;
}

/**
 * Two barriers. WGSL says neither how large subgroups are, nor that they are full, nor how invocations fall to them. So
 * the lowest invocation of a subgroup leaves its sum at its own place and the others the identity, and then each subgroup
 * collects all places, dealt out by rank among its active invocations.
 */
function bySubgroups(reduction: Reduction, threads: number): string {
  const { type, identity, subgroup, combine } = OPERATIONS[reduction];
  return `
    var<workgroup> ${reduction}Values: array<${type}, ${threads}>;
    fn ${reduction}(value: ${type}, lane: u32) -> ${type} {
      let part = ${subgroup}(value);
      ${reduction}Values[lane] = select(${identity}, part, lane == subgroupMin(lane));
      let members = subgroupAdd(1u);
      let rank = subgroupExclusiveAdd(1u);
      workgroupBarrier();
      var mine = ${identity};
      for (var i = rank; i < ${threads}u; i += members) { mine = ${combine('mine', `${reduction}Values[i]`)}; }
      let result = ${subgroup}(mine);
      workgroupBarrier();
      return result;
    }`;
}
