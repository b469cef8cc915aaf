import { appendFileSync, mkdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/*
 * TensorBoard's event files: records of [length u64][its masked CRC-32C][bytes][their masked CRC-32C], each an `Event` of
 * tensorboard/compat/proto/event.proto: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log. A summary is a
 * list (1) of values with 1 tag string, 2 simple_value float. Few and fixed, so they are written by hand.
 */

/** Scalars of one step, by name. */
export type Scalars = Readonly<Record<string, number>>;

const VARINT = 0;
const EIGHT_BYTES = 1;
const BYTES = 2;
const FOUR_BYTES = 5;
/** `SessionLog.START`: TensorBoard forgets what it has of later steps from before. */
const START = 1;

/** Begins an event file in `folder`, for steps after `step`; returns what adds to it. */
export function eventFile(folder: string, step: number): (step: number, scalars: Scalars) => void {
  mkdirSync(folder, { recursive: true });
  const begun = Date.now() / 1000;
  const path = join(
    folder,
    `events.out.tfevents.${String(Math.floor(begun)).padStart(10, '0')}.${hostname()}.${process.pid}`,
  );
  const add = (...fields: readonly Uint8Array[]) => {
    appendFileSync(path, record(Buffer.concat([field(1, EIGHT_BYTES, double(Date.now() / 1000)), ...fields])));
  };
  add(field(3, BYTES, text('brain.Event:2')));
  add(field(2, VARINT, varint(step + 1)), field(7, BYTES, field(1, VARINT, varint(START))));
  return (at, scalars) => {
    const values = Object.entries(scalars).map(([name, value]) =>
      field(1, BYTES, Buffer.concat([field(1, BYTES, text(name)), field(2, FOUR_BYTES, float(value))])),
    );
    add(field(2, VARINT, varint(at)), field(5, BYTES, Buffer.concat(values)));
  };
}

function field(number: number, wire: number, payload: Uint8Array): Buffer {
  const head = varint(number * 8 + wire);
  return Buffer.concat(wire === BYTES ? [head, varint(payload.length), payload] : [head, payload]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function text(value: string): Buffer {
  return Buffer.from(value, 'utf8');
}

function double(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function record(data: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([length, checksum(length), data, checksum(data)]);
}

/** CRC-32C, rotated and shifted as TFRecord has it. */
function checksum(data: Buffer): Buffer {
  let crc = 0xffffffff;
  for (const byte of data) crc = (TABLE[(crc ^ byte) & 255] as number) ^ (crc >>> 8);
  crc = ~crc >>> 0;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return bytes;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});
