import type { DecodeInputs, DecoderKernels, DecoderLayerOperands, DecoderLayerSizes } from '@lazy-attention/core';
import type { DeviceBuffer } from '../device/buffers.ts';
import type { Runtime } from '../device/runtime.ts';
import {
  type BatchRows,
  type DecoderVariant,
  decoderAdd,
  decoderAttention,
  decoderGate,
  decoderLogits,
  decoderProject,
} from '../wgsl/decoder.ts';
import { embedTokens, sampleToken } from '../wgsl/sample.ts';
import { type OptionalInputs, withOptionalInputs } from './attention/inputs.ts';
import { rotations } from './rope.ts';
import { linearGrid, scalarOf, withScratch } from './shared.ts';

type Problem = DecodeInputs<DeviceBuffer>;

/** Where the parts of the state begin, in floats; x is first. See wgsl/decoder.ts. */
interface Parts {
  readonly qAt: number;
  readonly outAt: number;
  readonly innerAt: number;
  readonly logitsAt: number;
  readonly scoresAt: number;
  readonly floats: number;
}

function partsOf({ sizes, vocabulary, position, steps }: Problem): Parts {
  const { batch, width, heads, headDim, inner } = sizes;
  const qAt = batch * width;
  const outAt = qAt + batch * heads * headDim;
  const innerAt = outAt + batch * heads * headDim;
  const logitsAt = innerAt + batch * inner;
  const scoresAt = logitsAt + batch * vocabulary;
  return { qAt, outAt, innerAt, logitsAt, scoresAt, floats: scoresAt + batch * heads * (position + steps) };
}

/** What every step of one call shares. */
interface Run {
  readonly rt: Runtime;
  readonly problem: Problem;
  readonly parts: Parts;
  readonly variant: DecoderVariant;
  readonly state: DeviceBuffer;
  /** cos and sin of each step's position, [steps, D / 2, 2]. */
  readonly angles: DeviceBuffer;
}

/** A layer, and what attention learned in it as its kernel takes it. */
interface Layer extends DecoderLayerOperands<DeviceBuffer> {
  readonly optional: OptionalInputs;
}

/** Calls `fn` with all layers. */
function withLayers(rt: Runtime, problem: Problem, fn: (layers: readonly Layer[]) => void): void {
  const { layers, starts, sizes } = problem;
  const withRest = (done: readonly Layer[]): void => {
    const layer = layers[done.length];
    if (layer === undefined) fn(done);
    else {
      withOptionalInputs(rt, { ...layer, starts }, sizes.window, (optional) =>
        withRest([...done, { ...layer, optional }]),
      );
    }
  };
  withRest([]);
}

/** Groups of rows of the batch. */
const groupsOf = ({ batchRows }: DecoderVariant, batch: number): number => Math.ceil(batch / batchRows);

const rowGrid = (count: number, groups: number): readonly [number, number, number] => {
  const [x, y = 1] = linearGrid(count);
  return [x, y, groups];
};

/** q, k and v of a layer, and attention over its cache. */
function attend({ rt, problem, parts, variant, state, angles }: Run, layer: Layer, step: number): void {
  const { sizes, position, ropeBase, epsilon } = problem;
  const { batch, width, heads, kvHeads, headDim, capacity } = sizes;
  const [keys, values] = [layer.keys.buffer, layer.values.buffer];
  rt.run(decoderProject, variant, {
    buffers: {
      state,
      norm: layer.attentionNorm.buffer,
      q: layer.q.buffer,
      k: layer.k.buffer,
      v: layer.v.buffer,
      keys,
      values,
      angles,
    },
    params: {
      batch,
      width,
      heads,
      kvHeads,
      headDim,
      capacity,
      position: position + step,
      rotates: ropeBase === null ? 0 : 1,
      anglesAt: (step * headDim) / 2,
      qAt: parts.qAt,
      epsilon,
    },
    grid: [((heads + 2 * kvHeads) * headDim) / 4, groupsOf(variant, batch)],
  });
  const { optional } = layer;
  rt.run(
    decoderAttention,
    { type: variant.type },
    {
      buffers: { state, keys, values, ...optional.bias, ...optional.perHead, ...optional.starts },
      params: {
        heads,
        kvHeads,
        headDim,
        capacity,
        keyLength: position + step + 1,
        ...optional.params,
        startsAt: step * batch,
        qAt: parts.qAt,
        outAt: parts.outAt,
        scoresAt: parts.scoresAt,
        scale: 1 / Math.sqrt(headDim),
      },
      grid: [heads, batch],
    },
  );
}

/** x += o . attention, then x += down . (silu(gate) * up). */
function advance({ rt, problem, parts, variant, state }: Run, layer: Layer): void {
  const { sizes, epsilon } = problem;
  const { batch, width, heads, headDim, inner } = sizes;
  const add = (weight: DeviceBuffer, length: number, inputAt: number): void =>
    rt.run(decoderAdd, variant, {
      buffers: { state, weight },
      params: { batch, width, length, inputAt },
      grid: rowGrid(Math.ceil(width / 4), groupsOf(variant, batch)),
    });
  add(layer.o.buffer, heads * headDim, parts.outAt);
  rt.run(decoderGate, variant, {
    buffers: { state, norm: layer.mlpNorm.buffer, gate: layer.gate.buffer, up: layer.up.buffer },
    params: { batch, width, inner, innerAt: parts.innerAt, epsilon },
    grid: [Math.ceil(inner / 2), groupsOf(variant, batch)],
  });
  add(layer.down.buffer, inner, parts.innerAt);
}

/** The token of a step into `drawn`, and its embedding into x. */
function draw(
  { rt, problem, parts, variant, state }: Run,
  uniforms: DeviceBuffer,
  drawn: DeviceBuffer,
  step: number,
): void {
  const { sizes, vocabulary, norm, head, embeddings, epsilon, temperature, topK, topP } = problem;
  const { batch, width } = sizes;
  const { logitsAt } = parts;
  rt.run(decoderLogits, variant, {
    buffers: { state, norm: norm.buffer, head: head.buffer },
    params: { batch, width, vocabulary, logitsAt, epsilon },
    grid: rowGrid(Math.ceil(vocabulary / 4), groupsOf(variant, batch)),
  });
  rt.run(
    sampleToken,
    { type: variant.type, greedy: temperature === 0 },
    {
      buffers: { state, embeddings: embeddings.buffer, uniforms, drawn },
      params: { width, vocabulary, logitsAt, step, topK, topP, temperature },
      grid: [batch],
    },
  );
}

/** Rows of weights that begin on a vec4. Heads always do. */
const isWide = ({ width, inner }: DecoderLayerSizes): boolean => width % 4 === 0 && inner % 4 === 0;

/** Decoding on the device: 5 dispatches for a layer and 2 for a token, with nothing read back between tokens. */
export function decoderKernels(rt: Runtime): DecoderKernels<DeviceBuffer> {
  return {
    decode(problem) {
      const { sizes, steps, tokens, embeddings, position, ropeBase, uniforms } = problem;
      const { batch, width, headDim } = sizes;
      const type = scalarOf(embeddings.dtype);
      const batchRows: BatchRows = batch === 1 ? 1 : 4;
      const parts = partsOf(problem);
      const table = ropeBase === null ? new Float32Array(4) : rotations(ropeBase, headDim / 2, position, 1, steps);
      const [angles, numbers] = [rt.upload(table), rt.upload(Float32Array.from([...uniforms, 0]))];
      const drawn = rt.acquire(steps * batch * 4);
      withScratch(rt, [parts.floats], (state) => {
        const run = { rt, problem, parts, variant: { type, wide: isWide(sizes), batchRows }, state, angles };
        rt.run(
          embedTokens,
          { type },
          {
            buffers: { state, embeddings: embeddings.buffer, tokens: tokens.buffer },
            params: { width },
            grid: [batch],
          },
        );
        withLayers(rt, problem, (layers) => {
          for (let step = 0; step < steps; step++) {
            for (const layer of layers) {
              attend(run, layer, step);
              advance(run, layer);
            }
            draw(run, numbers, drawn, step);
          }
        });
      });
      rt.release(angles);
      rt.release(numbers);
      return drawn;
    },
  };
}
