import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  type Backend,
  checkOptions,
  createBackend,
  formatShape,
  ShapeError,
  UnsupportedError,
  ValueError,
} from '@lazy-attention/core';
import {
  type AttentionConfig,
  type AttentionOptionsInput,
  attentionConfigOf,
  type LazyTransformerConfig,
  type LazyTransformerOptions,
  lazyAttentionLayer,
  lazyTransformer,
  type Params,
} from '@lazy-attention/nn';
import { loadCheckpoint } from '@lazy-attention/nn/node';
import type { ReadWeight } from './blocks.ts';
import { type WrittenFiles, writeModel } from './encode.ts';
import type { Graph } from './graph.ts';
import { encodeMetadata, type OnnxMetadata } from './metadata.ts';
import { attentionGraph, type GraphOptions, modelGraph } from './model-graph.ts';

/** How a file is written. */
export interface ExportOptions {
  /** The file to write. */
  readonly out: string;
  /** Most tokens of a sequence, cache included. Default: 4 * context, at least 4096. */
  readonly maxLength?: number;
  /** Whether the file has the input `starts` (left padding, packed documents, sliding windows). Default true. */
  readonly starts?: boolean;
  /** 17 to 20. Default 17, which the oldest runtimes take; the graph is the same. */
  readonly opset?: number;
  /** Weights in `<out>.data` beside the model. Default 'auto': only past the 2 GB that a protobuf can hold. */
  readonly externalData?: boolean | 'auto';
}

export interface ExportedFiles extends WrittenFiles {
  /** What the file says of itself. */
  readonly metadata: OnnxMetadata;
}

const KEYS = ['out', 'maxLength', 'starts', 'opset', 'externalData'];

/**
 * Writes a LazyTransformer, in float32, as an ONNX file of primitives. The ports are described at `modelGraph`.
 * @throws ConfigError, ShapeError for params that are not the model's, ValueError for options
 */
export async function exportModel(
  options: ExportOptions & { readonly config: LazyTransformerOptions; readonly params: Params },
): Promise<ExportedFiles> {
  checkOptions('exportModel', options, [...KEYS, 'config', 'params']);
  const { config, shapes } = lazyTransformer(options.config);
  refuseUnknown('exportModel', config);
  const read = reader('exportModel', options.params, shapes);
  const graphOptions = graphOptionsOf('exportModel', options, defaultLength(config.context));
  return write(modelGraph(config, read, graphOptions), options, { kind: 'model', config, ...graphOptions });
}

/** As `exportModel`, for one attention layer with the parameter names of `lazyAttentionLayer`. */
export async function exportAttention(
  options: ExportOptions & { readonly config: AttentionOptionsInput; readonly params: Params },
): Promise<ExportedFiles> {
  checkOptions('exportAttention', options, [...KEYS, 'config', 'params']);
  const { config, shapes } = lazyAttentionLayer(options.config);
  refuseUnknown('exportAttention', config);
  const read = reader('exportAttention', options.params, shapes);
  const graphOptions = graphOptionsOf('exportAttention', options, defaultLength(0));
  return write(attentionGraph(config, read, graphOptions), options, { kind: 'attention', config, ...graphOptions });
}

/**
 * A checkpoint as an ONNX file, whole or, with `attentionLayer`, the attention of that layer alone. The parameters are
 * read through `backend`, by default the reference, which needs no device.
 * @throws CheckpointError for a checkpoint that is missing, corrupt or of an unknown kind
 */
export async function exportOnnx(
  options: ExportOptions & {
    readonly checkpoint: string;
    readonly attentionLayer?: number;
    readonly backend?: Backend;
  },
): Promise<ExportedFiles> {
  checkOptions('exportOnnx', options, [...KEYS, 'checkpoint', 'attentionLayer', 'backend']);
  const { checkpoint, attentionLayer, backend: given, ...rest } = options;
  const backend = given ?? (await createBackend('reference'));
  try {
    const { config, params } = await loadCheckpoint(backend, checkpoint, { optimizer: false });
    try {
      if (attentionLayer === undefined) return await exportModel({ ...rest, config, params });
      return await exportAttention({
        maxLength: defaultLength(config.context),
        ...rest,
        config: layerConfig(config, attentionLayer),
        params: layerParams(params, config, attentionLayer),
      });
    } finally {
      for (const tensor of Object.values(params)) tensor.dispose();
    }
  } finally {
    if (given === undefined) await backend.dispose();
  }
}

/** Generation slides past the context; a row of the tables is small. */
function defaultLength(context: number): number {
  return Math.max(4 * context, 4096);
}

function layerParams(params: Params, { numLayers }: LazyTransformerConfig, layer: number): Params {
  if (!Number.isInteger(layer) || layer < 0 || layer >= numLayers) {
    throw new ValueError(`exportOnnx: attentionLayer is ${layer}; expected an integer from 0 to ${numLayers - 1}`);
  }
  const prefix = `model.layers.${layer}.attn.`;
  const own = Object.entries(params).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

function graphOptionsOf(op: string, options: ExportOptions, longest: number): GraphOptions {
  const { maxLength = longest, starts = true, opset = 17, externalData = 'auto' } = options;
  if (!Number.isInteger(maxLength) || maxLength < 1 || maxLength > 2 ** 24) {
    throw new ValueError(`${op}: maxLength is ${maxLength}; expected an integer from 1 to ${2 ** 24}`);
  }
  if (typeof starts !== 'boolean') throw new ValueError(`${op}: starts is ${starts}; expected true or false`);
  if (![17, 18, 19, 20].includes(opset)) throw new ValueError(`${op}: opset is ${opset}; expected 17 to 20`);
  if (externalData !== 'auto' && typeof externalData !== 'boolean') {
    throw new ValueError(`${op}: externalData is ${externalData}; expected true, false or 'auto'`);
  }
  return { maxLength, starts };
}

/** @throws UnsupportedError, naming the key, for what a graph with tables of positions does not compute */
function refuseUnknown(op: string, { ropeScaling }: AttentionConfig): void {
  if (ropeScaling?.type !== 'dynamic') return;
  throw new UnsupportedError(
    `${op}: ropeScaling.type is 'dynamic', whose frequencies depend on the length; the ONNX graph has linear, llama3, yarn or none`,
  );
}

/** The attention of one layer by itself. @throws UnsupportedError for one without RoPE, which a layer's config cannot say */
function layerConfig(config: LazyTransformerConfig, layer: number): AttentionConfig {
  if (config.noRopeLayers.includes(layer)) {
    throw new UnsupportedError(
      `exportOnnx: noRopeLayers has layer ${layer}, which cannot be exported alone; export the model`,
    );
  }
  const own = attentionConfigOf(config);
  return config.fullAttentionLayers.includes(layer) ? { ...own, slidingWindow: null } : own;
}

/** Checks names and shapes at once and reads values on demand, as float32. */
function reader(op: string, params: Params, shapes: Readonly<Record<string, readonly number[]>>): ReadWeight {
  for (const [name, shape] of Object.entries(shapes)) {
    const found = params[name]?.shape;
    if (found === undefined) throw new ValueError(`${op}: params has no '${name}', which the config asks for`);
    if (formatShape(found) !== formatShape(shape)) {
      throw new ShapeError(`${op}: '${name}' has shape ${formatShape(found)}; expected ${formatShape(shape)}`);
    }
  }
  return async (name) => Float32Array.from(await params[name].data());
}

async function write(graph: Graph, options: ExportOptions, metadata: OnnxMetadata): Promise<ExportedFiles> {
  const { out, opset = 17, externalData = 'auto' } = options;
  if (typeof out !== 'string' || out === '')
    throw new ValueError(`export: out is ${String(out)}; expected a file name`);
  const folder = await stat(dirname(out)).catch(() => null);
  if (!folder?.isDirectory()) throw new ValueError(`export: out is ${out}; the folder ${dirname(out)} does not exist`);
  const files = await writeModel(graph, out, { opset, externalData, metadata: encodeMetadata(metadata) });
  return { ...files, metadata };
}
