import {
  checkFloat,
  checkIds,
  checkOwned,
  checkSameDType,
  checkShapeIs,
  checkWeight,
  knownIndices,
} from '../checks.ts';
import type { DecodeInputs, DecoderLayerSizes } from '../contract/decoder.ts';
import { ShapeError, ValueError } from '../errors.ts';
import { kernelTensor, optionalTensor, type TensorStore } from '../lifetimes/store.ts';
import type { Storage, Tensor } from '../lifetimes/tensor.ts';
import { checkSampleOptions } from '../sample.ts';
import { checkInteger, checkList, checkObject, checkOptions, formatShape } from '../shape.ts';
import { checkDecoderNumbers, operandsOf, planLayer, readLayer } from './layer.ts';
import type { DecodeOptions, DecoderWeights } from './types.ts';

const OP = 'decoder.decode';
const OPTIONS = ['steps', 'position', 'starts', 'ropeBase', 'epsilon', 'uniforms', 'temperature', 'topK', 'topP'];

/** Checks `Decoder.decode`, and says what it writes in place. */
export function planDecode(
  backend: TensorStore,
  tokens: Tensor,
  decoder: DecoderWeights,
  decoding: DecodeOptions,
): { problem: DecodeInputs; written: readonly Storage[] } {
  checkObject(OP, 'decoder', decoder);
  checkOptions(OP, decoding, OPTIONS);
  const options = { ...decoding };
  const { embeddings, layers: given, norm, head } = decoder;
  const layers = checkList(OP, 'layers', given).map((layer, i) => readLayer(OP, `layers[${i}]`, layer));
  const { steps, position, starts, ropeBase, epsilon, temperature = 1, topK, topP = 1 } = options;
  checkSampleOptions(options);
  checkInteger(OP, 'steps', steps, 1, 2 ** 31 - 1);
  checkFloat(backend, OP, ['norm'], [norm]);
  checkWeight(backend, OP, 'embeddings', embeddings, norm.dtype);
  checkWeight(backend, OP, 'head', head, norm.dtype);
  if (embeddings.shape.length !== 2) {
    throw new ShapeError(`${OP}: embeddings has shape ${formatShape(embeddings.shape)}; expected [V, C]`);
  }
  const [vocabulary, width] = embeddings.shape;
  checkShapeIs(OP, 'norm', norm, [width]);
  checkShapeIs(OP, 'head', head, [vocabulary, width]);
  checkIds(backend, OP, 'tokens', tokens, vocabulary);
  if (tokens.shape.length !== 1) {
    throw new ShapeError(`${OP}: tokens has shape ${formatShape(tokens.shape)}; expected [B]`);
  }
  const [batch] = tokens.shape;
  const room = { batch, length: steps, width, position };
  const sizes = layers.map((layer, i) => planLayer(backend, `${OP}, layer ${i}`, layer, room));
  for (const [i, { keys }] of layers.entries()) checkSameDType(`${OP}, layer ${i}`, 'keys', keys, 'norm', norm);
  const first = onlySizes(sizes);
  checkDecoderNumbers(OP, first, ropeBase, epsilon);
  const written = layers.flatMap(({ keys, values }) => [keys.storage, values.storage]);
  checkCaches(written);
  if (starts !== undefined) checkStepStarts(backend, starts, steps, batch, position);
  const problem = {
    sizes: { ...first, length: 1 },
    steps,
    vocabulary,
    position,
    ropeBase,
    epsilon,
    tokens: kernelTensor(tokens),
    starts: optionalTensor(starts),
    embeddings: kernelTensor(embeddings),
    layers: layers.map(operandsOf),
    norm: kernelTensor(norm),
    head: kernelTensor(head),
    temperature,
    topK: Math.min(topK ?? vocabulary, vocabulary),
    topP,
    uniforms: temperature === 0 ? new Float64Array(0) : checkedUniforms(options.uniforms, steps * batch),
  };
  return { problem, written };
}

function onlySizes(sizes: readonly DecoderLayerSizes[]): DecoderLayerSizes {
  if (sizes.length === 0) throw new ValueError(`${OP}: layers is empty; expected at least one`);
  for (const name of Object.keys(sizes[0]) as (keyof DecoderLayerSizes)[]) {
    const other = sizes.findIndex((layer) => layer[name] !== sizes[0][name]);
    if (other > 0) {
      throw new ShapeError(
        `${OP}: ${name} is ${sizes[0][name]} in layer 0 and ${sizes[other][name]} in layer ${other}; expected layers of equal sizes`,
      );
    }
  }
  return sizes[0];
}

/** A cache that two layers wrote to would hold the keys of one of them. */
function checkCaches(storages: readonly Storage[]): void {
  if (new Set(storages).size < storages.length) {
    throw new ValueError(`${OP}: two of the layers' keys and values share memory; each needs its own`);
  }
}

function checkStepStarts(backend: TensorStore, starts: Tensor, steps: number, batch: number, position: number): void {
  checkOwned(backend, OP, 'starts', starts);
  const values = knownIndices(OP, 'starts', starts);
  checkShapeIs(OP, 'starts', starts, [steps, batch]);
  for (const [i, start] of values.entries()) {
    const last = position + Math.floor(i / batch);
    if (start < 0 || start > last) {
      throw new ValueError(
        `${OP}: starts[${Math.floor(i / batch)}, ${i % batch}] is ${start}; that step is position ${last}, so expected 0 to ${last}`,
      );
    }
  }
}

/** A copy: the kernel may read it after this call, and the caller's array may change. */
function checkedUniforms(uniforms: Float64Array | undefined, count: number): Float64Array {
  const own = uniforms instanceof Float64Array ? new Float64Array(uniforms) : undefined;
  if (own?.length !== count) {
    throw new ValueError(
      `${OP}: uniforms has ${own?.length ?? 'no'} elements; expected a Float64Array of steps * B = ${count}, or temperature 0`,
    );
  }
  const wrong = own.findIndex((u) => !(u >= 0 && u < 1));
  if (wrong >= 0) throw new ValueError(`${OP}: uniforms[${wrong}] is ${own[wrong]}; expected a number in [0, 1)`);
  return own;
}
