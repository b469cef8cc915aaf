/** The messages of onnx.proto (IR version 8) that a model needs, as bytes. Field numbers are those of that file, and fields are in their order. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Of onnx.proto: TensorProto.DataType. */
export const DATA_TYPE = { float: 1, int32: 6, int64: 7 } as const;

/** ModelProto.ir_version. */
const IR_VERSION = 8;
/** AttributeProto.AttributeType. */
const ATTRIBUTE = { int: 2, ints: 7 } as const;
/** TensorProto.DataLocation.EXTERNAL */
const EXTERNAL = 1;

/** What a message writes of itself. */
export type Message = (writer: BinaryWriter) => void;

/** A message as bytes. */
export function encode(message: Message): Uint8Array {
  const writer = new BinaryWriter();
  message(writer);
  return writer.finish();
}

const text = (writer: BinaryWriter, field: number, value: string): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).string(value);
const integer = (writer: BinaryWriter, field: number, value: number): BinaryWriter =>
  writer.tag(field, WireType.Varint).int64(value);

function inside(writer: BinaryWriter, field: number, message: Message): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  message(writer);
  writer.join();
}

const keyed =
  (key: string, value: string): Message =>
  (writer) => {
    text(writer, 1, key);
    text(writer, 2, value);
  };

/** ModelProto without its metadata; `graph` is a GraphProto. */
export const modelMessage =
  (graph: Message, opset: number): Message =>
  (writer) => {
    integer(writer, 1, IR_VERSION);
    text(writer, 2, 'lazy-attention');
    inside(writer, 7, graph);
    inside(writer, 8, (set) => {
      text(set, 1, '');
      integer(set, 2, opset);
    });
  };

/** ModelProto with nothing but its metadata. */
export const metadataMessage =
  (metadata: Readonly<Record<string, string>>): Message =>
  (writer) => {
    for (const [key, value] of Object.entries(metadata)) inside(writer, 14, keyed(key, value));
  };

/** GraphProto of nodes, weights, inputs and outputs. */
export const graphMessage =
  (nodes: readonly Message[], tensors: readonly Message[], inputs: readonly Message[], outputs: readonly Message[]) =>
  (writer: BinaryWriter): void => {
    for (const node of nodes) inside(writer, 1, node);
    text(writer, 2, 'lazy-attention');
    for (const tensor of tensors) inside(writer, 5, tensor);
    for (const input of inputs) inside(writer, 11, input);
    for (const output of outputs) inside(writer, 12, output);
  };

/** NodeProto. */
export const nodeMessage =
  (node: {
    readonly name: string;
    readonly op: string;
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
    readonly attributes: Readonly<Record<string, number | readonly number[]>>;
  }): Message =>
  (writer) => {
    for (const input of node.inputs) text(writer, 1, input);
    for (const output of node.outputs) text(writer, 2, output);
    text(writer, 3, node.name);
    text(writer, 4, node.op);
    for (const [name, value] of Object.entries(node.attributes)) inside(writer, 5, attribute(name, value));
  };

const attribute =
  (name: string, value: number | readonly number[]): Message =>
  (writer) => {
    text(writer, 1, name);
    if (typeof value === 'number') integer(writer, 3, value);
    else for (const one of value) integer(writer, 8, one);
    integer(writer, 20, typeof value === 'number' ? ATTRIBUTE.int : ATTRIBUTE.ints);
  };

/** ValueInfoProto of a tensor; a size with a name is one that may vary. */
export const valueMessage =
  (name: string, type: keyof typeof DATA_TYPE, dims: readonly (number | string)[]): Message =>
  (writer) => {
    text(writer, 1, name);
    inside(writer, 2, (value) =>
      inside(value, 1, (tensor) => {
        integer(tensor, 1, DATA_TYPE[type]);
        inside(tensor, 2, (shape) => {
          for (const size of dims) {
            inside(shape, 1, (dim) => (typeof size === 'number' ? integer(dim, 1, size) : text(dim, 2, size)));
          }
        });
      }),
    );
  };

/** TensorProto whose elements are `data`, or lie in another file. */
export const tensorMessage =
  (
    name: string,
    type: keyof typeof DATA_TYPE,
    dims: readonly number[],
    data: Uint8Array | { readonly location: string; readonly offset: number; readonly length: number },
  ): Message =>
  (writer) => {
    for (const size of dims) integer(writer, 1, size);
    integer(writer, 2, DATA_TYPE[type]);
    text(writer, 8, name);
    if (data instanceof Uint8Array) {
      writer.tag(9, WireType.LengthDelimited).bytes(data);
      return;
    }
    for (const [key, value] of Object.entries(data)) inside(writer, 13, keyed(key, String(value)));
    integer(writer, 14, EXTERNAL);
  };
