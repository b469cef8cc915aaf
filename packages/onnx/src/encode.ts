import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import proto from 'onnx-proto';
import type { ElementType, Graph, Initializer, Node, Port } from './graph.ts';
import { dataMetadata, withDigest } from './metadata.ts';

const { onnx } = proto;

const ELEMENT = {
  float: onnx.TensorProto.DataType.FLOAT,
  int32: onnx.TensorProto.DataType.INT32,
  int64: onnx.TensorProto.DataType.INT64,
} satisfies Record<ElementType, number>;

/** A protobuf message has at most 2^31 - 1 bytes; weights beyond this go to a file of their own. */
const MOST_INLINE_BYTES = 2 ** 31 - 2 ** 24;

/** The runtime maps external data by page. */
const ALIGNMENT = 4096;

/** Constants of at most this size stay in the model, where shape inference needs them. */
const SMALL_BYTES = 1024;

export interface WriteOptions {
  readonly opset: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** Weights in `<file>.data`; 'auto': only where the model would be too large. */
  readonly externalData: boolean | 'auto';
}

/** Files that were written, and their sizes in bytes. */
export interface WrittenFiles {
  /** The model. */
  readonly file: string;
  /** Its size. */
  readonly bytes: number;
  /** Null when all weights are in the model. */
  readonly dataFile: string | null;
  /** Size of the data file; 0 without one. */
  readonly dataBytes: number;
}

/** Writes beside and renames, so that a reader sees the old file or the new one, whole. */
export async function writeModel(graph: Graph, file: string, options: WriteOptions): Promise<WrittenFiles> {
  const total = graph.initializers.reduce((sum, { bytes }) => sum + bytes, 0);
  const external = options.externalData === 'auto' ? total > MOST_INLINE_BYTES : options.externalData;
  const dataFile = external ? `${file}.data` : null;
  const temporary = { model: `${file}.tmp`, data: `${file}.data.tmp` };
  try {
    const { tensors, dataBytes, dataDigest } =
      dataFile === null
        ? { tensors: await inlineTensors(graph.initializers), dataBytes: 0, dataDigest: '' }
        : await externalTensors(graph.initializers, temporary.data, basename(dataFile));
    const metadata =
      dataFile === null ? options.metadata : { ...options.metadata, ...dataMetadata(dataFile, dataBytes, dataDigest) };
    const model = onnx.ModelProto.encode(modelProto(graph, tensors, options.opset)).finish();
    // Messages of a protobuf that follow one another are one: the metadata can come last, and tell what is before it.
    const last = onnx.ModelProto.encode(metadataProto(withDigest(metadata, model))).finish();
    const bytes = { length: model.length + last.length };
    await writeAll(temporary.model, [model, last]);
    if (dataFile !== null) await rename(temporary.data, dataFile);
    await rename(temporary.model, file);
    return { file, bytes: bytes.length, dataFile, dataBytes };
  } catch (error) {
    await Promise.all(Object.values(temporary).map((path) => rm(path, { force: true })));
    throw error;
  }
}

function modelProto(graph: Graph, initializer: proto.onnx.ITensorProto[], opset: number) {
  return onnx.ModelProto.create({
    irVersion: onnx.Version.IR_VERSION,
    producerName: 'lazy-attention',
    opsetImport: [{ domain: '', version: opset }],
    graph: {
      name: 'lazy-attention',
      node: graph.nodes.map(nodeProto),
      input: graph.inputs.map(valueProto),
      output: graph.outputs.map(valueProto),
      initializer,
    },
  });
}

function metadataProto(metadata: Readonly<Record<string, string>>) {
  return onnx.ModelProto.create({ metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })) });
}

function nodeProto({ name, op, inputs, outputs, attributes }: Node): proto.onnx.INodeProto {
  return {
    name,
    opType: op,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes).map(([key, value]) =>
      typeof value === 'number'
        ? { name: key, type: onnx.AttributeProto.AttributeType.INT, i: value }
        : { name: key, type: onnx.AttributeProto.AttributeType.INTS, ints: [...value] },
    ),
  };
}

function valueProto({ name, type, dims }: Port): proto.onnx.IValueInfoProto {
  const dim = dims.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: ELEMENT[type], shape: { dim } } } };
}

function tensorProto({ name, type, dims }: Initializer): proto.onnx.ITensorProto {
  return { name, dataType: ELEMENT[type], dims: [...dims] };
}

async function inlineTensors(initializers: readonly Initializer[]): Promise<proto.onnx.ITensorProto[]> {
  const tensors: proto.onnx.ITensorProto[] = [];
  for (const initializer of initializers) {
    tensors.push({ ...tensorProto(initializer), rawData: await initializer.read() });
  }
  return tensors;
}

/** Writes large tensors to `path`, one at a time, and describes where they lie in `location`. */
async function externalTensors(initializers: readonly Initializer[], path: string, location: string) {
  const tensors: proto.onnx.ITensorProto[] = [];
  let offset = 0;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (const initializer of initializers) {
      const data = await initializer.read();
      if (data.length <= SMALL_BYTES) {
        tensors.push({ ...tensorProto(initializer), rawData: data });
        continue;
      }
      const padding = (ALIGNMENT - (offset % ALIGNMENT)) % ALIGNMENT;
      yield new Uint8Array(padding);
      yield data;
      const entries = { location, offset: offset + padding, length: data.length };
      tensors.push({
        ...tensorProto(initializer),
        dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
        externalData: Object.entries(entries).map(([key, value]) => ({ key, value: String(value) })),
      });
      offset += padding + data.length;
    }
  };
  const dataDigest = await writeAll(path, chunks());
  return { tensors, dataBytes: offset, dataDigest };
}

/** The SHA-256 of what was written. */
async function writeAll(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<string> {
  const handle = await open(path, 'w');
  const hash = createHash('sha256');
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      for (let done = 0; done < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, done, Math.min(chunk.length - done, 2 ** 30));
        done += bytesWritten;
      }
    }
    await handle.sync();
    return hash.digest('hex');
  } finally {
    await handle.close();
  }
}
