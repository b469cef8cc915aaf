// What attention kernels must take on an H100 at least, from instructions, products, exponentials and bytes. Nothing is measured.

/** H100 SXM, datasheet: dense bf16, HBM3, boost clock. mma.sync reaches that share of the tensor cores that it was measured with. */
const PEAK = 989e12;
const MMA_SHARE = 0.62;
export const BANDWIDTH = 3.35e12;
const MULTIPROCESSORS = 132;
const CLOCK = 1.755e9;
/** Each quarter of a multiprocessor issues an instruction of a warp a cycle, and 4 exponentials. */
const ISSUE = MULTIPROCESSORS * 4 * CLOCK;
const EXPONENTIALS = MULTIPROCESSORS * 16 * CLOCK;

/** The shape of the authors' chart, with the window of the tests. */
export const LAYER = { B: 4, H: 16, L: 4096, D: 64, W: 512 };
/** One product of a causal layer, in operations. */
export const product = ({ B, H, L, D }) => 2 * B * H * ((L * L) / 2) * D;

const sum = (count, of) => {
  let total = 0;
  for (let i = 0; i < count; i++) total += of(i);
  return total;
};
const kindOf = (nearest, window) => (nearest < 0 ? 'border' : nearest < window ? 'biased' : 'plain');

/** Instructions of forward attention by mma.sync, of a head: warps of 32 rows, four a block, and tiles of 64 keys. */
function forwardInstructions({ L, W }, [first, second], [restOfFirst, restOfSecond]) {
  return sum(L / 32, (warp) => {
    const row = 32 * warp;
    const visited = Math.floor((Math.floor(row / 128) * 128 + 127) / 64) + 1;
    const tiles = Math.floor((row + 31) / 64) + 1;
    const work = sum(tiles, (t) => {
      const kind = kindOf(row - (64 * t + 63), W);
      return 2 * first[kind] + 4 * second[kind];
    });
    return work + visited * (restOfFirst + restOfSecond);
  });
}

/** Instructions of forward attention by wgmma, of a head: warps of 16 rows, whose kind of tile is that of their 64 rows. */
function hopperInstructions({ L, W }, [first, second], keyTile) {
  return sum(L / 64, (group) => {
    const tiles = Math.floor((64 * group + 63) / keyTile) + 1;
    const work = sum(tiles, (t) => {
      const kind = kindOf(64 * group - (keyTile * t + keyTile - 1), W);
      return first[kind] + second[kind];
    });
    return 4 * work;
  });
}

/** Instructions of backward attention by mma.sync, of a head: steps of 64 queries over blocks of 128 keys, eight warps. */
function gradInstructions({ L, W }, piece, step, diagonals) {
  const rest = step.plain - 4 * piece.plain;
  return sum(L / 128, (block) =>
    sum((L - 128 * block) / 64, (i) => {
      const query = 64 * i; // beside the block's first key
      const warps = sum(8, (warp) => {
        const key = 16 * warp;
        const pieces = sum(4, (c) => (query + 16 * c + 15 >= key ? 1 : 0));
        return pieces * (query - (key + 15) >= W ? piece.plain : piece.biased) + rest;
      });
      return warps + (query - 127 < W ? 4 * diagonals : 0);
    }),
  );
}

/** Instructions of backward attention by wgmma, of a head: steps as above, eight warps that take dk and dv, four that take dq. */
function hopperGradInstructions({ L, W }, step, queries, diagonals) {
  return sum(L / 128, (block) =>
    sum((L - 128 * block) / 64, (i) => {
      const query = 64 * i; // beside the block's first key
      const groups = sum(2, (group) => {
        const key = 64 * group;
        return query + 63 < key ? 0 : 4 * step[kindOf(query - (key + 63), W)];
      });
      return groups + 4 * (queries + (query - 127 < W ? diagonals : 0));
    }),
  );
}

/** Seconds that each bound asks for. */
function bounds(layer, { instructions, products, exponentials, tensors, wgmma = false }) {
  const { B, H, L, D } = layer;
  const all = {
    issue: (B * H * instructions) / ISSUE,
    products: (products * product(layer)) / (wgmma ? PEAK : MMA_SHARE * PEAK),
    exponentials: (exponentials * B * H * L * L) / 2 / EXPONENTIALS,
    memory: (tensors * B * H * L * D * 2) / BANDWIDTH,
  };
  return { ...all, least: Math.max(...Object.values(all)) };
}

/**
 * Lower bounds of the attention kernels at a layer's shape.
 *
 * @param {{ loop: string, plain: number, biased?: number, border?: number }[]} slots of issue-slots.mjs
 * @param {{ inference: number[], training: number[] }} rest of restOfTiles
 */
export function predict(slots, rest, layer = LAYER) {
  const of = (loop) => {
    const found = slots.find((row) => row.loop === loop);
    if (found === undefined) throw new Error(`nobody counted ${loop}`);
    return found;
  };
  const passes = (name) => [of(`${name}pass 1`), of(`${name}pass 2`)];
  const grad = gradInstructions(
    layer,
    of('backward 64, piece'),
    of('backward 64, step'),
    of('backward 64, dbias of a step').plain,
  );
  const training = [of('pass 1, training'), of('pass 2, training')];
  return {
    inference: bounds(layer, {
      instructions: forwardInstructions(layer, passes(''), rest.inference),
      ...{ products: 3, exponentials: 2, tensors: 4 },
    }),
    training: bounds(layer, {
      instructions: forwardInstructions(layer, training, rest.training),
      ...{ products: 4, exponentials: 2, tensors: 6 },
    }),
    delta: bounds(layer, { instructions: 0, products: 0, exponentials: 0, tensors: 3 }),
    backward: bounds(layer, { instructions: grad, products: 5, exponentials: 1, tensors: 9 }),
    hopperInference: bounds(layer, {
      instructions: hopperInstructions(layer, passes('hopper 64, 128 keys, '), 128),
      ...{ products: 3, exponentials: 2, tensors: 4, wgmma: true },
    }),
    hopperTraining: bounds(layer, {
      instructions: hopperInstructions(layer, passes('hopper 64, training, 64 keys, '), 64),
      ...{ products: 4, exponentials: 2, tensors: 6, wgmma: true },
    }),
    hopperBackward: bounds(layer, {
      instructions: hopperGradInstructions(
        layer,
        of('hopper backward, step'),
        of('hopper backward, dq of a step').plain,
        of('hopper backward, dbias of a step').plain,
      ),
      ...{ products: 5, exponentials: 1, tensors: 9, wgmma: true },
    }),
  };
}
