import { type DType, type KernelTensor, UnsupportedError } from '@lazy-attention/core';
import type { Launch, NativeArgument, NativeContext, NativeField, NativeOp } from './addon.ts';
import type { NativeBuffer } from './buffers.ts';

type T = KernelTensor<NativeBuffer>;

/** An argument as kernels have it, for the field of its name. */
export type FieldValue = NativeArgument | T | null | readonly number[];

/** A launch whose arguments have been checked against the binary's fields. */
export type Positional<Names extends readonly string[]> = (
  ...fields: { [Place in keyof Names]: NativeArgument | readonly number[] }
) => number | undefined;

/** Ops of a binary, stated there once (include/lazy_native/ops): here by name, into the binary's order. */
export interface NativeOps {
  /** Whether the device has it. */
  has(op: string): boolean;
  /**
   * The op's launch with its fields in the order of `names`, for ops that must be launched fast.
   *
   * @throws MismatchError when the binary's op has other fields
   */
  positional<const Names extends readonly string[]>(op: string, ...names: Names): Positional<Names>;
  /**
   * The op's launch with its fields by name. A tensor stands for its number; `null` for none, or for 0.
   *
   * @throws MismatchError when the binary lacks the op; the launch, when a field is missing
   */
  named(op: string): (fields: Readonly<Record<string, unknown>>) => number | undefined;
  /**
   * All ops of the device as kernels, each with its fields as arguments in order, and records (`view`, `options`) of fields
   * among them. A kernel throws MismatchError when its arguments are other ones.
   */
  kernels(): Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;
  /**
   * The numbers of a choice's names.
   *
   * @throws MismatchError when the binary lacks one of `names`
   */
  choices<Name extends string>(op: string, field: string, names: readonly Name[]): Readonly<Record<Name, number>>;
  /**
   * The number of an element type.
   *
   * @throws UnsupportedError when the device lacks it
   */
  dtype(dtype: DType): number;
}

/** The binary and this JavaScript do not belong together. */
export class MismatchError extends Error {
  override readonly name = 'MismatchError';
}

/** Axes of a view, at most; `Axes::most` of ops/tensor.h follows from the shared memory's size. */
const AXES_ROOM = 9;

/** @param hold makes the handle of a new buffer */
export function nativeOps(
  ops: readonly NativeOp[],
  context: NativeContext,
  hold: (id: number) => NativeBuffer,
): NativeOps {
  const { axes, outputs } = context;
  const byName = new Map(ops.map((op) => [op.name, op]));

  function known(name: string): { op: NativeOp; launch: Launch } {
    const op = byName.get(name);
    const launch = context.launch[name];
    if (op === undefined || launch === undefined) {
      throw new MismatchError(`the binary has no op '${name}'; it has ${[...byName.keys()].join(', ')}`);
    }
    return { op, launch };
  }

  function putAxes(place: number, values: readonly number[]): void {
    if (values.length >= AXES_ROOM) throw new MismatchError(`a view of ${values.length} axes; the binary takes 8`);
    const start = place * AXES_ROOM;
    axes[start] = values.length;
    for (let i = 0; i < values.length; i++) axes[start + 1 + i] = values[i] as number;
  }

  /** Takes one value per field. */
  function ordered({
    op,
    launch,
  }: {
    op: NativeOp;
    launch: Launch;
  }): (values: readonly unknown[]) => number | undefined {
    const kinds = op.fields.map(({ kind }) => kind);
    const codes = op.fields.map(({ names }) => new Map(names.map((name, index) => [name, index])));
    return (values) => {
      const call: NativeArgument[] = [];
      let axesSeen = 0;
      for (let i = 0; i < kinds.length; i++) {
        const value = values[i];
        if (kinds[i] === 'axes') putAxes(axesSeen++, value as readonly number[]);
        else if (kinds[i] === 'choice')
          call.push(codeOf(op, op.fields[i] as NativeField, codes[i] as Map<string, number>, value));
        else call.push(argumentOf(value));
      }
      return launch(...call);
    };
  }

  function codeOf(op: NativeOp, field: NativeField, codes: Map<string, number>, value: unknown): number {
    if (field.names.join() === dtypeNames.join()) return dtype(value as DType);
    const code = codes.get(value as string);
    if (code === undefined) {
      throw new UnsupportedError(
        `${op.name}: ${field.name} '${String(value)}' is not one of ${field.names.join(', ')}`,
      );
    }
    return code;
  }

  function result({ outputs: names }: NativeOp, number: number | undefined): unknown {
    if (names.length === 0) return undefined;
    if (names.length === 1) return hold(number as number);
    return Object.fromEntries(names.map((name, i) => [name, outputs[i] === 0 ? null : hold(outputs[i] as number)]));
  }

  function kernel(name: string): (...args: readonly unknown[]) => unknown {
    const { op, launch } = known(name);
    const takes = ordered({ op, launch });
    let places: readonly Place[] | null = null; // which arguments are records, the first call shows
    return (...args) => {
      places ??= placesOf(op, args);
      const values = places.map(({ argument, property }) => {
        const value = args[argument];
        return property === null ? value : (value as Record<string, unknown>)[property];
      });
      return result(op, takes(values));
    };
  }

  const dtypeNames = known('cast').op.fields.find(({ name }) => name === 'dtype')?.names ?? [];
  const dtypes = new Map(context.dtypes.map((name) => [name, dtypeNames.indexOf(name)]));

  function dtype(name: DType): number {
    const code = dtypes.get(name);
    if (code === undefined) {
      throw new UnsupportedError(
        `element type '${name}' is not one that this device has: ${context.dtypes.join(', ')}`,
      );
    }
    return code;
  }

  return {
    has: (name) => context.launch[name] !== undefined,
    dtype,

    positional(name, ...names) {
      const { op, launch } = known(name);
      const fields = op.fields.map((field) => field.name);
      if ([...fields].sort().join() !== [...names].sort().join()) {
        throw new MismatchError(
          `the binary's op '${name}' takes (${fields.join(', ')}); JavaScript gives (${names.join(', ')})`,
        );
      }
      const plain = op.fields.filter(({ kind }) => kind !== 'axes').length;
      const inOrder = fields.every((field, i) => field === names[i]);
      if (inOrder && plain === names.length) return launch as never;
      const places = fields.map((field) => names.indexOf(field));
      const takes = ordered({ op: { ...op, fields: op.fields.map(asGiven) }, launch });
      return ((...values: readonly unknown[]) => takes(places.map((place) => values[place]))) as never;
    },

    named(name) {
      const { op, launch } = known(name);
      const takes = ordered({ op, launch });
      return (values) =>
        takes(
          op.fields.map((field) => {
            if (field.kind === 'each')
              return flattened(values[field.name] as readonly Record<string, T | null>[], field.names);
            if (!(field.name in values))
              throw new MismatchError(`op '${name}' of the binary takes '${field.name}' too`);
            return values[field.name];
          }),
        );
    },

    kernels: () => Object.fromEntries(Object.keys(context.launch).map((name) => [name, kernel(name)])),

    choices(name, field, names) {
      const { op } = known(name);
      const offered = op.fields.find((other) => other.name === field)?.names ?? [];
      const missing = names.filter((choice) => !offered.includes(choice));
      if (missing.length > 0) {
        throw new MismatchError(
          `the binary's op '${name}' has no ${field} ${missing.join(', ')}; it has ${offered.join(', ')}`,
        );
      }
      return Object.fromEntries(names.map((choice) => [choice, offered.indexOf(choice)])) as Record<
        (typeof names)[number],
        number
      >;
    },
  };
}

/** Where a kernel finds a field: an argument, or a property of one. */
interface Place {
  readonly argument: number;
  readonly property: string | null;
}

/** Fields are taken from the arguments in order; those of a record by their names. */
function placesOf({ name, fields }: NativeOp, args: readonly unknown[]): Place[] {
  let argument = 0;
  const places = fields.map((field): Place => {
    const inRecord = (at: number) => isRecord(args[at]) && field.name in (args[at] as object);
    while (argument < args.length && isRecord(args[argument]) && !inRecord(argument)) argument++;
    if (argument >= args.length) throw new MismatchError(`op '${name}' of the binary takes '${field.name}' too`);
    return isRecord(args[argument]) ? { argument, property: field.name } : { argument: argument++, property: null };
  });
  const used = new Set(places.map((place) => place.argument));
  if (used.size !== args.length)
    throw new MismatchError(`op '${name}' of the binary takes (${fields.map((field) => field.name).join(', ')}) alone`);
  return places;
}

function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !('buffer' in value) && !Array.isArray(value);
}

function argumentOf(value: unknown): NativeArgument {
  if (value === null) return 0;
  if (Array.isArray(value)) return Int32Array.from(value as readonly T[], (x) => x.buffer.id);
  return typeof value === 'object' && 'dtype' in value ? (value as T).buffer.id : (value as NativeArgument);
}

function flattened(entries: readonly Record<string, T | null>[], names: readonly string[]): Int32Array {
  return Int32Array.from(entries.flatMap((entry) => names.map((name) => entry[name]?.buffer.id ?? 0)));
}

/** A choice that comes as its number. */
function asGiven(field: NativeField): NativeField {
  return field.kind === 'choice' ? { ...field, kind: 'number' } : field;
}
