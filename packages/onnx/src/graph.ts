/** What an initializer's elements are. */
export type ElementType = 'float' | 'int32' | 'int64';

/** A constant tensor of the graph. Weights are read when the file is written, one at a time. */
export interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly bytes: number;
  read(): Promise<Uint8Array>;
}

export interface Node {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, number | readonly number[]>>;
}

/** An input or output; a size is a number or the name of a size that is only known at run time. */
export interface Port {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly (number | string)[];
}

export interface Graph {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly nodes: readonly Node[];
  readonly initializers: readonly Initializer[];
}

/**
 * Collects a graph in the order of its making, which is a topological one. Values are their names. `scope` prefixes the
 * names of nodes and values, so that a profile says where a node comes from.
 */
export class GraphBuilder {
  readonly #nodes: Node[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #inputs: Port[] = [];
  readonly #outputs: Port[] = [];
  readonly #counts = new Map<string, number>();
  readonly #renamed = new Map<string, string>();
  #scope = '';

  input(name: string, type: ElementType, dims: Port['dims']): string {
    this.#inputs.push({ name, type, dims });
    return name;
  }

  /** Makes a node's value an output under `name`. */
  output(name: string, value: string, type: ElementType, dims: Port['dims']): void {
    this.#renamed.set(value, name);
    this.#outputs.push({ name, type, dims });
  }

  scope<T>(name: string, fn: () => T): T {
    const outer = this.#scope;
    this.#scope = `${outer}${name}/`;
    try {
      return fn();
    } finally {
      this.#scope = outer;
    }
  }

  node(op: string, inputs: readonly string[], attributes: Node['attributes'] = {}): string {
    return this.nodes(op, inputs, 1, attributes)[0];
  }

  /** A node with several outputs. */
  nodes(op: string, inputs: readonly string[], outputs: number, attributes: Node['attributes'] = {}): string[] {
    const stem = `${this.#scope}${op}`;
    const count = this.#counts.get(stem) ?? 0;
    this.#counts.set(stem, count + 1);
    const name = count === 0 ? stem : `${stem}.${count}`;
    const values = Array.from({ length: outputs }, (_, i) => `${name}:${i}`);
    this.#nodes.push({ name, op, inputs, outputs: values, attributes });
    return values;
  }

  /** One-dimensional int64, as shapes and axes are. The same list is the same constant. */
  ints(...values: number[]): string {
    return this.#constant(`ints/${values.join('_')}`, 'int64', [values.length], () =>
      BigInt64Array.from(values.map(BigInt)),
    );
  }

  scalar(value: number): string {
    return this.#constant(`scalar/${value}`, 'float', [], () => Float32Array.of(value));
  }

  floats(name: string, dims: readonly number[], values: () => Float32Array): string {
    return this.#constant(name, 'float', dims, values);
  }

  /** A float32 tensor that is read when the file is written. */
  weight(name: string, dims: readonly number[], read: () => Promise<Float32Array>): string {
    const bytes = 4 * dims.reduce((product, size) => product * size, 1);
    return this.#add({ name, type: 'float', dims, bytes, read: async () => bytesOf(await read()) });
  }

  finish(): Graph {
    const named = (values: readonly string[]) => values.map((value) => this.#renamed.get(value) ?? value);
    return {
      inputs: this.#inputs,
      outputs: this.#outputs,
      nodes: this.#nodes.map((node) => ({ ...node, inputs: named(node.inputs), outputs: named(node.outputs) })),
      initializers: [...this.#initializers.values()],
    };
  }

  #constant(
    name: string,
    type: ElementType,
    dims: readonly number[],
    values: () => Float32Array | BigInt64Array,
  ): string {
    const bytes = (type === 'int64' ? 8 : 4) * dims.reduce((product, size) => product * size, 1);
    return this.#add({ name, type, dims, bytes, read: async () => bytesOf(values()) });
  }

  #add(initializer: Initializer): string {
    if (!this.#initializers.has(initializer.name)) this.#initializers.set(initializer.name, initializer);
    return initializer.name;
  }
}

function bytesOf(values: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
