import { checkOptions, DisposedError, formatShape, ShapeError, ValueError } from '@lazy-attention/core';
import { type GenerateOptions, type LazyTransformerConfig, sampleToken, uniform } from '@lazy-attention/nn';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { type OnnxCache, pastName, presentNames, TensorCache } from './cache.ts';
import { OnnxFileError } from './errors.ts';
import { type OnnxMetadata, readMetadata, verifyFile } from './metadata.ts';
import { checkProvider, loadRuntime, type OnnxProvider, type OnnxRuntime, openSession } from './runtime.ts';

/** How a file is opened. */
export interface OnnxModelOptions {
  /** A model that `exportOnnx` or `exportModel` wrote. */
  readonly file: string;
  /** Default 'cpu'. A provider that is named runs or throws. */
  readonly provider?: OnnxProvider;
  /** Passed to onnxruntime, for instance `{ intraOpNumThreads: 2 }`. */
  readonly session?: Omit<InferenceSession.SessionOptions, 'executionProviders' | 'preferredOutputLocation'>;
}

type ModelMetadata = Extract<OnnxMetadata, { kind: 'model' }>;

/** An exported model in onnxruntime-node. */
export class OnnxModel {
  /** Of the model in the file. */
  readonly config: LazyTransformerConfig;
  /** Most tokens of a sequence, cache included. */
  readonly maxLength: number;
  /** Where it computes. */
  readonly provider: OnnxProvider;
  readonly #file: string;
  readonly #ort: OnnxRuntime;
  readonly #session: InferenceSession;
  readonly #metadata: ModelMetadata;
  #disposed = false;

  private constructor(
    file: string,
    ort: OnnxRuntime,
    session: InferenceSession,
    metadata: ModelMetadata,
    provider: OnnxProvider,
  ) {
    this.#file = file;
    this.#ort = ort;
    this.#session = session;
    this.#metadata = metadata;
    this.config = metadata.config;
    this.maxLength = metadata.maxLength;
    this.provider = provider;
  }

  /**
   * @throws OnnxFileError for a file that is missing, damaged or not a model of ours; BackendUnavailableError when
   *   onnxruntime-node or the provider is missing
   */
  static async create(options: OnnxModelOptions): Promise<OnnxModel> {
    checkOptions('OnnxModel.create', options, ['file', 'provider', 'session']);
    const { file, provider = 'cpu', session: sessionOptions = {} } = options;
    checkProvider(provider);
    const metadata = await readMetadata(file);
    if (metadata.kind !== 'model') {
      throw new OnnxFileError(file, 'holds one attention layer, not a model; run it with onnxruntime itself');
    }
    await verifyFile(file);
    const ort = await loadRuntime();
    const session = await openSession(ort, file, provider, {
      ...sessionOptions,
      ...(provider === 'webgpu' ? { preferredOutputLocation: keptOnDevice(metadata.config) } : {}),
    });
    try {
      checkPorts(file, session, metadata);
    } catch (error) {
      await session.release();
      throw error;
    }
    return new OnnxModel(file, ort, session, metadata, provider);
  }

  /** An empty cache for `batch` rows. The caller disposes it. */
  createCache(batch: number): OnnxCache {
    this.#checkAlive('createCache');
    if (!Number.isInteger(batch) || batch < 1) {
      throw new ValueError(`createCache: batch is ${batch}; expected a positive integer`);
    }
    return new TensorCache(this.#ort, this.config, new Array<number>(batch).fill(0));
  }

  /**
   * Logits [batch, length, vocabulary] of tokens [batch, length] that follow those in `cache`, which holds them too
   * afterwards. `starts` [batch, length]: first key position that a row attends, default 0.
   * @throws ValueError for tokens outside the vocabulary, starts out of range, sequences longer than `maxLength`
   */
  async forward(
    tokens: Int32Array,
    batch: number,
    options: { readonly starts?: Int32Array | null; readonly cache?: OnnxCache } = {},
  ): Promise<Float32Array> {
    this.#checkAlive('forward');
    checkOptions('forward', options, ['starts', 'cache']);
    const cache = options.cache ?? this.createCache(batch);
    try {
      return await this.#run(tokens, batch, options.starts ?? null, cache);
    } finally {
      if (options.cache === undefined) cache.dispose();
    }
  }

  /**
   * Logits [batch, vocabulary] of the last position of each prompt, and the cache to decode with. Shorter prompts are
   * padded on the left. The caller disposes the cache.
   */
  async prefill(prompts: readonly ArrayLike<number>[]): Promise<{ logits: Float32Array; cache: OnnxCache }> {
    this.#checkAlive('prefill');
    const { tokens, padding } = padLeft(prompts, this.config.vocabSize);
    const batch = prompts.length;
    const cache = new TensorCache(this.#ort, this.config, padding);
    try {
      const all = await this.#run(tokens, batch, this.#startsOf(cache, tokens), cache);
      const { vocabSize } = this.config;
      const logits = new Float32Array(batch * vocabSize);
      for (let row = 0; row < batch; row++) {
        const end = (row + 1) * (tokens.length / batch) * vocabSize;
        logits.set(all.subarray(end - vocabSize, end), row * vocabSize);
      }
      return { logits, cache };
    } catch (error) {
      cache.dispose();
      throw error;
    }
  }

  /** Logits [batch, vocabulary] after one more token per row. */
  async decode(cache: OnnxCache, tokens: Int32Array): Promise<Float32Array> {
    this.#checkAlive('decode');
    checkCache(cache);
    return this.#run(tokens, cache.batch, this.#startsOf(cache, tokens), cache);
  }

  /**
   * Tokens that continue the prompts: each step yields one per prompt, -1 for one that has stopped. As nn's `generate`:
   * greedy text is the same; past `config.context` tokens attention slides.
   */
  async *generate(
    prompts: readonly ArrayLike<number>[],
    options: GenerateOptions,
  ): AsyncGenerator<Int32Array, void, undefined> {
    const known = ['maxNewTokens', 'temperature', 'topK', 'topP', 'seed', 'stopTokens', 'signal'];
    checkOptions('generate', options, known);
    const { maxNewTokens, seed = 0, stopTokens = [], signal } = options;
    if (!Number.isSafeInteger(maxNewTokens) || maxNewTokens < 1) {
      throw new ValueError(`generate: maxNewTokens is ${maxNewTokens}; expected a positive integer`);
    }
    const longest = Math.max(...prompts.map((prompt) => prompt.length));
    this.#checkLength('generate', longest + maxNewTokens - 1);
    const random = prompts.map((_, row) => uniform(seed, `row ${row}`));
    const stopped = prompts.map(() => false);
    signal?.throwIfAborted();
    let { logits, cache } = await this.prefill(prompts);
    try {
      for (let step = 1; ; step++) {
        const next = Int32Array.from(prompts, (_, row) => {
          if (stopped[row]) return -1;
          const { vocabSize } = this.config;
          const token = sampleToken(logits.subarray(row * vocabSize, (row + 1) * vocabSize), options, random[row]);
          stopped[row] = stopTokens.includes(token);
          return token;
        });
        yield next;
        if (step === maxNewTokens || stopped.every(Boolean)) return;
        signal?.throwIfAborted();
        // A stopped row keeps its place in the batch.
        logits = await this.decode(
          cache,
          next.map((token) => Math.max(token, 0)),
        );
      }
    } finally {
      cache.dispose();
    }
  }

  /** Ends profiling, when the session was created with `enableProfiling`: the runtime writes its file. */
  endProfiling(): void {
    this.#session.endProfiling();
  }

  /** Ends the session. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#session.release();
  }

  async #run(tokens: Int32Array, batch: number, starts: Int32Array | null, cache: OnnxCache): Promise<Float32Array> {
    checkCache(cache);
    if (cache.batch !== batch || tokens.length === 0 || tokens.length % batch !== 0) {
      throw new ShapeError(
        `forward: ${tokens.length} tokens for batch ${batch} and a cache for ${cache.batch}; expected [batch, length]`,
      );
    }
    const length = tokens.length / batch;
    this.#checkLength('forward', cache.length + length);
    this.#checkTokens(tokens);
    const port = (data: Int32Array) => new this.#ort.Tensor('int32', data, [batch, length]);
    const feeds: Record<string, Tensor> = { ...cache.feeds, tokens: port(tokens) };
    if (this.#metadata.starts) {
      feeds.starts = port(checkedStarts(starts ?? new Int32Array(tokens.length), tokens.length, length, cache.length));
    } else if (starts?.some((start) => start !== 0)) {
      throw new ValueError(
        "forward: the file has no input 'starts', which padding, packed documents and more than context tokens need; export it with starts: true",
      );
    }
    const { logits, ...present } = await this.#session.run(feeds).catch((error: Error) => {
      throw new OnnxFileError(this.#file, `the runtime cannot run it: ${error.message}`, { cause: error });
    });
    cache.advance(present, length);
    const values = await (logits as Tensor).getData();
    if (values instanceof Float32Array && values.length === tokens.length * this.config.vocabSize) return values;
    throw new OnnxFileError(
      this.#file,
      `gives logits of ${logits?.type} and shape ${formatShape(logits?.dims ?? [])}; expected float32 and ${formatShape([batch, length, this.config.vocabSize])}`,
    );
  }

  /** First key of each row of the next chunk: behind its padding, and at most `context` keys back. */
  #startsOf({ batch, length, padding }: TensorCache, tokens: Int32Array): Int32Array | null {
    const { context } = this.config;
    const count = tokens.length / batch;
    if (padding.every((pad) => pad === 0) && length + count <= context) return null;
    return Int32Array.from(tokens, (_, i) => {
      const position = length + (i % count);
      return Math.min(position, Math.max(padding[Math.floor(i / count)], position - context + 1));
    });
  }

  #checkTokens(tokens: Int32Array): void {
    const { vocabSize } = this.config;
    for (const [i, token] of tokens.entries()) {
      if (token < 0 || token >= vocabSize) {
        throw new ValueError(`forward: tokens holds ${token} at element ${i}; expected 0 to ${vocabSize - 1}`);
      }
    }
  }

  #checkLength(op: string, length: number): void {
    if (length > this.maxLength) {
      throw new ValueError(
        `${op}: the sequence would have ${length} tokens; the file was exported for at most ${this.maxLength} (maxLength)`,
      );
    }
  }

  #checkAlive(op: string): void {
    if (this.#disposed) throw new DisposedError(`${op}: the model has been disposed`);
  }
}

/** The graph has the ports that its metadata tells of. @throws OnnxFileError naming those that differ */
function checkPorts(file: string, session: InferenceSession, { config, starts }: ModelMetadata): void {
  const present = presentNames(config.numLayers);
  const expected = {
    inputs: ['tokens', ...(starts ? ['starts'] : []), ...present.map(pastName)],
    outputs: ['logits', ...present],
  };
  for (const [kind, found] of [
    ['inputs', session.inputNames],
    ['outputs', session.outputNames],
  ] as const) {
    if (found.length === expected[kind].length && expected[kind].every((name) => found.includes(name))) continue;
    throw new OnnxFileError(
      file,
      `has the ${kind} ${found.join(', ')}; its metadata tells of ${expected[kind].join(', ')}; export it again`,
    );
  }
}

function checkCache(cache: OnnxCache): asserts cache is TensorCache {
  if (!(cache instanceof TensorCache)) {
    throw new ValueError('forward: cache is not one that createCache or prefill made');
  }
  if (cache.disposed) throw new DisposedError('forward: cache has been disposed');
}

function checkedStarts(starts: Int32Array, expected: number, length: number, offset: number): Int32Array {
  if (starts.length !== expected) {
    throw new ShapeError(`forward: starts has ${starts.length} elements; expected ${expected}, as tokens`);
  }
  for (const [i, start] of starts.entries()) {
    const position = offset + (i % length);
    if (start < 0 || start > position) {
      throw new ValueError(`forward: starts holds ${start} at element ${i}; expected 0 to ${position}, its position`);
    }
  }
  return starts;
}

function padLeft(prompts: readonly ArrayLike<number>[], vocabSize: number): { tokens: Int32Array; padding: number[] } {
  if (prompts.length === 0) throw new ValueError('prefill: prompts is empty; expected at least one prompt');
  for (const [row, prompt] of prompts.entries()) {
    if (prompt.length === 0) throw new ValueError(`prefill: prompts[${row}] is empty; expected at least one token`);
    for (const [i, token] of Array.from(prompt).entries()) {
      if (Number.isInteger(token) && token >= 0 && token < vocabSize) continue;
      throw new ValueError(
        `prefill: prompts[${row}][${i}] is ${token}; expected a token id from 0 to ${vocabSize - 1}`,
      );
    }
  }
  const length = Math.max(...prompts.map((prompt) => prompt.length));
  const tokens = new Int32Array(prompts.length * length);
  for (const [row, prompt] of prompts.entries()) tokens.set(Array.from(prompt), (row + 1) * length - prompt.length);
  return { tokens, padding: prompts.map((prompt) => length - prompt.length) };
}

/** Logits come to the host, where they are sampled from; keys and values stay. */
function keptOnDevice({ numLayers }: LazyTransformerConfig): Record<string, 'cpu' | 'gpu-buffer'> {
  return { logits: 'cpu', ...Object.fromEntries(presentNames(numLayers).map((name) => [name, 'gpu-buffer'])) };
}
