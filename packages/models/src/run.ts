import { type Tokenizer, type TokenizerJSON, tokenizerFromJSON } from '@lazy-attention/data';
import { type LazyTransformer, type LazyTransformerOptions, lazyTransformer } from '@lazy-attention/nn';
import * as v from 'valibot';
import { ModelError, messageOf } from './errors.ts';
import { type ModelFiles, parseJson, readJson, readSettings } from './files.ts';
import { loadTensors, planTensors } from './load.ts';
import { isStatistic } from './names.ts';
import { checkVocabulary, countTypes, type OpenedModel } from './open.ts';
import { SINGLE, safetensorsStore } from './tensors/safetensors.ts';

/** What tells a run and a checkpoint of this project. */
export const RUN = 'run.json';
export const CHECKPOINT = 'checkpoint.json';

/** A checkpoint among the files of a run; a second save of a step has a number of its own behind it. */
const IN_RUN = /^checkpoints\/(step-(\d{8,})(?:\.(\d+))?)\/checkpoint\.json$/;
/** Bytes that are hashed at once: a digest takes them whole. */
const LARGEST_HASHED = 2 ** 30;

/** Of a run's record only what a model needs; whoever goes on with the run checks the rest. */
const RunSchema = v.looseObject({ data: v.looseObject({ tokenizer: v.looseObject({ kind: v.string() }) }) });
/** A tokenizer in a file of its own, whose name begins with its digest. */
const TokenizerFile = v.object({ kind: v.literal('file'), sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)) });
const ManifestSchema = v.looseObject({
  step: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  files: v.record(v.string(), v.looseObject({ bytes: v.number(), sha256: v.string() })),
});

/** The model that a checkpoint's config.json describes. @throws ModelError MODEL_CONFIG */
export function checkpointModel(path: string, config: Record<string, unknown>): LazyTransformer {
  try {
    return lazyTransformer(config as unknown as LazyTransformerOptions);
  } catch (cause) {
    throw new ModelError('MODEL_CONFIG', path, `describes no model: ${messageOf(cause)}`, { cause });
  }
}

/** Step and digests of a checkpoint. @throws ModelError MODEL_CORRUPT */
export async function readManifest(files: ModelFiles): Promise<v.InferOutput<typeof ManifestSchema>> {
  const manifest = v.safeParse(ManifestSchema, await readJson(files, CHECKPOINT));
  if (!manifest.success) throw new ModelError('MODEL_CORRUPT', `${files.name}/${CHECKPOINT}`, 'has no step');
  return manifest.output;
}

/** The tokenizer of a run, from its record; null where the files have none. @throws ModelError MODEL_CORRUPT */
export async function runTokenizer(files: ModelFiles): Promise<Tokenizer | null> {
  if (!files.names.includes(RUN)) return null;
  const parsed = v.safeParse(RunSchema, await readJson(files, RUN));
  if (!parsed.success) throw new ModelError('MODEL_CORRUPT', `${files.name}/${RUN}`, 'has no data.tokenizer');
  const { tokenizer } = parsed.output.data;
  const file = v.safeParse(TokenizerFile, tokenizer);
  const json = file.success ? await tokenizerFile(files, file.output.sha256) : tokenizer;
  return tokenizerFromJSON(json as unknown as TokenizerJSON);
}

async function tokenizerFile(files: ModelFiles, sha256: string): Promise<unknown> {
  const name = `tokenizer-${sha256.slice(0, 16)}.json`;
  const { path, bytes } = await readSettings(files, name);
  const found = await sha256Of(bytes as Uint8Array<ArrayBuffer>);
  if (found !== null && found !== sha256) {
    throw new ModelError('MODEL_CORRUPT', path, `its SHA-256 is not the one in ${RUN}; it is damaged`);
  }
  return parseJson(path, bytes);
}

/** In hexadecimal; null in a page that is not served safely, which has no `crypto.subtle`. */
async function sha256Of(bytes: Uint8Array<ArrayBuffer>): Promise<string | null> {
  const { subtle } = globalThis.crypto;
  if (subtle === undefined) return null;
  const hash = new Uint8Array(await subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * A run (its newest checkpoint) or one checkpoint, from files that are open anywhere; a run's files have names relative to it.
 * `load` compares the weights with the digest that was written. In Node, nn's `loadCheckpoint` checks all files of a checkpoint.
 * @throws ModelError with the file and the fix
 */
export async function openRunFiles(files: ModelFiles): Promise<Omit<OpenedModel, 'close'>> {
  const isRun = files.names.includes(RUN);
  const held = isRun ? inFolder(files, newestCheckpoint(files)) : files;
  const { name: path } = files;
  const model = checkpointModel(`${held.name}/config.json`, await readJson(held, 'config.json'));
  const manifest = await readManifest(held);
  const tokenizer = await runTokenizer(files);
  checkVocabulary(path, model.config, tokenizer);
  const store = await safetensorsStore(held);
  const tensors = planTensors(model, store, (stored) => ({ stored }), { path: held.name, ignored: () => false });
  return {
    path,
    format: isRun ? 'run' : 'checkpoint',
    config: model.config,
    tokenizer,
    step: manifest.step,
    async load(backend, { dtype, weights: format = 'dense' } = {}) {
      if (format !== 'dense') {
        throw new ModelError(
          'MODEL_UNSUPPORTED',
          path,
          `weights is '${format}', but a checkpoint is loaded as it was trained; write it with export --format hf or gguf first`,
        );
      }
      await checkDigest(held, manifest.files[SINGLE]);
      const computeDType = dtype === 'bf16' || dtype === 'f16' ? dtype : null;
      const weights = dtype ?? 'f32';
      const statistics = weights === 'f64' ? 'f64' : 'f32';
      return {
        model: dtype === undefined ? model : lazyTransformer({ ...model.config, computeDType }),
        params: await loadTensors(backend, tensors, (name) => (isStatistic(name) ? statistics : weights)),
      };
    },
    tensors: async () => tensors,
    storedTypes: async () => countTypes(store),
  };
}

function newestCheckpoint({ name, names }: ModelFiles): string {
  const found = names
    .flatMap((file) => {
      const match = IN_RUN.exec(file);
      return match === null ? [] : [{ folder: match[1], step: Number(match[2]), revision: Number(match[3] ?? 0) }];
    })
    .sort((a, b) => b.step - a.step || b.revision - a.revision);
  const newest = found[0]?.folder;
  if (newest === undefined)
    throw new ModelError('MODEL_MISSING', name, 'this run has no checkpoint yet; train it first');
  return `checkpoints/${newest}`;
}

/** The files below a folder, by their names in it. */
function inFolder(files: ModelFiles, folder: string): ModelFiles {
  const prefix = `${folder}/`;
  return {
    name: `${files.name}/${folder}`,
    names: files.names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length)),
    open: (name) => files.open(prefix + name),
  };
}

async function checkDigest(files: ModelFiles, digest: { bytes: number; sha256: string } | undefined): Promise<void> {
  const source = await files.open(SINGLE);
  const damaged = (what: string) => new ModelError('MODEL_CORRUPT', source.name, `${what}; it is damaged or truncated`);
  if (digest === undefined || digest.bytes !== source.size) throw damaged('has not the size that was written');
  // What cannot be hashed is checked by its sizes and shapes all the same.
  if (globalThis.crypto.subtle === undefined || source.size > LARGEST_HASHED) return;
  const found = await sha256Of((await source.read(0, source.size)) as Uint8Array<ArrayBuffer>);
  if (found !== digest.sha256) throw damaged('its SHA-256 is not that of what was written');
}
