import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Graph, Initializer } from './graph.ts';
import {
  encode,
  graphMessage,
  type Message,
  metadataMessage,
  modelMessage,
  nodeMessage,
  tensorMessage,
  valueMessage,
} from './messages.ts';
import { dataMetadata, withDigest } from './metadata.ts';

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
    const model = encode(modelMessage(graphOf(graph, tensors), options.opset));
    // Messages of a protobuf that follow one another are one: the metadata can come last, and tell what is before it.
    const last = encode(metadataMessage(withDigest(metadata, model)));
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

function graphOf({ nodes, inputs, outputs }: Graph, tensors: readonly Message[]): Message {
  const values = (ports: Graph['inputs']) => ports.map(({ name, type, dims }) => valueMessage(name, type, dims));
  return graphMessage(nodes.map(nodeMessage), tensors, values(inputs), values(outputs));
}

async function inlineTensors(initializers: readonly Initializer[]): Promise<Message[]> {
  const tensors: Message[] = [];
  for (const { name, type, dims, read } of initializers) {
    tensors.push(tensorMessage(name, type, dims, await read()));
  }
  return tensors;
}

/** Writes large tensors to `path`, one at a time, and describes where they lie in `location`. */
async function externalTensors(initializers: readonly Initializer[], path: string, location: string) {
  const tensors: Message[] = [];
  let offset = 0;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (const { name, type, dims, read } of initializers) {
      const data = await read();
      if (data.length <= SMALL_BYTES) {
        tensors.push(tensorMessage(name, type, dims, data));
        continue;
      }
      const padding = (ALIGNMENT - (offset % ALIGNMENT)) % ALIGNMENT;
      yield new Uint8Array(padding);
      yield data;
      const place = { location, offset: offset + padding, length: data.length };
      tensors.push(tensorMessage(name, type, dims, place));
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
