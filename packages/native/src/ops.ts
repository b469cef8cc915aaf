import { type DType, type KernelTensor, UnsupportedError } from '@lazy-attention/core';
import type { Launch, NativeArgument, NativeContext, NativeField, NativeOp } from './addon.ts';
import type { NativeBuffer } from './buffers.ts';

type T = KernelTensor<NativeBuffer>;

/** A launch that takes its fields in the order of `Names`, which have been checked against the binary's. */
export type Positional<Names extends readonly string[]> = (
  ...fields: { [Place in keyof Names]: NativeArgument }
) => number | undefined;

/** The ops that a binary states (include/lazy_native/ops), as this JavaScript launches them: by the names of their fields. */
export interface NativeOps {
  /** Whether the device offers the op. */
  has(op: string): boolean;
  /**
   * An op's launch with its fields in the order of `names`, for those that are launched often. Fields of kind 'axes' are left
   * out: see `putAxes`.
   *
   * @throws MismatchError when the binary's op has other fields
   */
  positional<const Names extends readonly string[]>(op: string, ...names: Names): Positional<Names>;
  /**
   * The same of each of the functions of an op.
   *
   * @throws MismatchError when the binary lacks one of `choices`, too
   */
  family<Choice extends string, const Names extends readonly string[]>(
    op: string,
    choices: readonly Choice[],
    ...names: Names
  ): Readonly<Record<Choice, Positional<Names>>>;
  /** Gives the next launch its first, second, ... field of kind 'axes'. */
  putAxes(place: number, values: readonly number[]): void;
  /**
   * An op's launch with its fields by name: tensors or `null`, arrays of tensors, records of them for 'each', numbers.
   *
   * @throws MismatchError when the binary lacks the op; the launch, when a field is missing
   */
  named(op: string): (fields: Readonly<Record<string, unknown>>) => number | undefined;
  /**
   * All ops without choices as kernels, each with its fields as arguments in order, and records of fields (`view`, `options`)
   * among them. A kernel throws MismatchError when it is given others.
   */
  kernels(): Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;
  /**
   * The number of an element type.
   *
   * @throws UnsupportedError when the device lacks it
   */
  dtype(dtype: DType): number;
}

/** The binary and this JavaScript do not belong together. */
export class MismatchError extends Error {
  /** Always 'MismatchError'. */
  override readonly name = 'MismatchError';
}

/**
 * @param described the ops that the binary states
 * @param hold makes the handle of a new buffer
 */
export function nativeOps(
  described: readonly NativeOp[],
  { launch: launches, outputs, axes, axesRoom, dtypes, packedDtypes }: NativeContext,
  hold: (id: number) => NativeBuffer,
): NativeOps {
  const byName = new Map(described.map((op) => [op.name, op]));

  function known(name: string): NativeOp {
    const op = byName.get(name);
    if (op !== undefined && launches[name] !== undefined) return op;
    throw new MismatchError(`the binary has no op '${name}'; it has ${Object.keys(launches).join(', ')}`);
  }

  const dtypeNames = known('cast').fields.find(({ kind }) => kind === 'dtype')?.names ?? [];
  const dtypeCodes = new Map([...dtypes, ...packedDtypes].map((name) => [name, dtypeNames.indexOf(name)]));

  function dtype(name: DType): number {
    const code = dtypeCodes.get(name);
    if (code !== undefined) return code;
    throw new UnsupportedError(`element type '${name}' is not one that this device has: ${dtypes.join(', ')}`);
  }

  function putAxes(place: number, values: readonly number[]): void {
    if (values.length >= axesRoom) {
      throw new MismatchError(`a view of ${values.length} axes; the binary takes ${axesRoom - 1}`);
    }
    const start = place * axesRoom;
    axes[start] = values.length;
    for (let i = 0; i < values.length; i++) axes[start + 1 + i] = values[i] as number;
  }

  /** The launch with its plain fields in the order of `names`. */
  function ordered(op: NativeOp, launch: Launch, names: readonly string[]): Launch {
    const fields = op.fields.filter(({ kind }) => kind !== 'axes').map(({ name }) => name);
    const places = fields.map((field) => names.indexOf(field));
    if (fields.length !== names.length || places.includes(-1)) {
      throw new MismatchError(
        `the binary's op '${op.name}' takes (${fields.join(', ')}); JavaScript gives (${names.join(', ')})`,
      );
    }
    if (places.every((place, i) => place === i)) return launch;
    return (...values) => launch(...places.map((place) => values[place] as NativeArgument));
  }

  /** The launch with any values that stand for the fields, in their order. */
  function marshalled(op: NativeOp): (values: readonly unknown[]) => number | undefined {
    const launch = launches[op.name] as Launch;
    return (values) => {
      const plain: NativeArgument[] = [];
      let place = 0;
      op.fields.forEach((field, i) => {
        if (field.kind === 'axes') putAxes(place++, values[i] as readonly number[]);
        else if (field.kind === 'dtype') plain.push(dtype(values[i] as DType));
        else plain.push(argumentOf(field, values[i]));
      });
      return launch(...plain);
    };
  }

  function results({ outputs: names }: NativeOp, number: number | undefined): unknown {
    if (names.length === 0) return undefined;
    if (names.length === 1) return hold(number as number);
    return Object.fromEntries(names.map((name, i) => [name, outputs[i] === 0 ? null : hold(outputs[i] as number)]));
  }

  function kernel(op: NativeOp): (...args: readonly unknown[]) => unknown {
    const launch = marshalled(op);
    let places: readonly Place[] | null = null; // which arguments are records, the first call shows
    return (...args) => {
      places ??= placesOf(op, args);
      const values = places.map(({ argument, property }) =>
        property === null ? args[argument] : (args[argument] as Record<string, unknown>)[property],
      );
      return results(op, launch(values));
    };
  }

  return {
    has: (name) => launches[name] !== undefined,
    dtype,
    putAxes,
    positional: (name, ...names) => ordered(known(name), launches[name] as Launch, names) as never,
    family(name, choices, ...names) {
      const op = known(name);
      const missing = choices.filter((choice) => !op.choices.includes(choice));
      if (missing.length > 0) {
        throw new MismatchError(
          `the binary's op '${name}' has no function ${missing.join(', ')}; it has ${op.choices.join(', ')}`,
        );
      }
      const functions = launches[name] as Readonly<Record<string, Launch>>;
      return Object.fromEntries(
        choices.map((choice) => [choice, ordered(op, functions[choice] as Launch, names)]),
      ) as never;
    },
    named(name) {
      const op = known(name);
      const launch = marshalled(op);
      return (values) =>
        launch(
          op.fields.map((field) => {
            if (field.name in values) return values[field.name];
            throw new MismatchError(`op '${name}' of the binary takes '${field.name}' too`);
          }),
        );
    },
    kernels: () =>
      Object.fromEntries(
        described
          .filter(({ name, choices }) => launches[name] !== undefined && choices.length === 0)
          .map((op) => [op.name, kernel(op)]),
      ),
  };
}

/** Where a kernel finds a field: an argument, or a property of one. */
interface Place {
  readonly argument: number;
  readonly property: string | null;
}

/** Fields are taken from the arguments in order; those of a record by their names. */
function placesOf({ name, fields }: NativeOp, args: readonly unknown[]): Place[] {
  const names = fields.map((field) => field.name).join(', ');
  let argument = 0;
  const places = fields.map((field): Place => {
    while (isRecord(args[argument]) && !(field.name in (args[argument] as object))) argument++;
    if (argument >= args.length) throw new MismatchError(`op '${name}' of the binary takes (${names})`);
    return isRecord(args[argument]) ? { argument, property: field.name } : { argument: argument++, property: null };
  });
  const used = new Set(places.map((place) => place.argument));
  if (used.size !== args.length) throw new MismatchError(`op '${name}' of the binary takes (${names}) alone`);
  return places;
}

/** Neither a tensor nor a list nor a plain value. */
function isRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !('buffer' in value) && !Array.isArray(value);
}

function argumentOf({ kind, names }: NativeField, value: unknown): NativeArgument {
  if (value === null) return 0;
  if (kind === 'tensor' || kind === 'optional') return (value as T).buffer.id;
  if (kind === 'tensors') return Int32Array.from(value as readonly T[], (x) => x.buffer.id);
  if (kind === 'each') {
    const entries = value as readonly Readonly<Record<string, T | null>>[];
    return Int32Array.from(entries.flatMap((entry) => names.map((name) => entry[name]?.buffer.id ?? 0)));
  }
  return value as NativeArgument;
}
