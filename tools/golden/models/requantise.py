"""A GGUF file with its matrices in other quantisations, for measurements: whole rows of 256 in Q4_K or Q6_K (rounded plainly, not as
well as llama.cpp's search), others in the second type, which has blocks of 32.

usage: python tools/golden/models/requantise.py IN.gguf OUT.gguf Q4_K|Q6_K|Q5_1 [Q5_1|Q5_0|Q8_0]
needs: pip install gguf
"""
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type, GGUFValueType
from gguf.quants import dequantize, quantize


def halves(values):
    return values.astype(np.float16).view(np.uint8).reshape(len(values), 2)


def ratio(x, step):
    return np.divide(x, step, out=np.zeros_like(x), where=step != 0)


def q4_k(x):
    """d * scale * q - dmin * min: d, dmin, 12 bytes of 6-bit scales and minima, 128 of nibbles."""
    groups = x.reshape(-1, 8, 32)
    least = np.maximum(0, -groups.min(axis=2))
    step = (groups.max(axis=2) + least) / 15
    d, dmin = (np.float32(np.float16(v.max(axis=1) / 63)) for v in (step, least))
    scales = np.clip(np.round(ratio(step, d[:, None] + 0 * step)), 0, 63).astype(np.uint8)
    minima = np.clip(np.round(ratio(least, dmin[:, None] + 0 * least)), 0, 63).astype(np.uint8)
    real, offset = (d[:, None] * scales)[..., None], (dmin[:, None] * minima)[..., None]
    codes = np.clip(np.round(ratio(groups + offset, real + 0 * groups)), 0, 15).astype(np.uint8)
    first, last = slice(0, 4), slice(4, 8)
    packed = np.concatenate([scales[:, first] | (scales[:, last] >> 4 << 6), minima[:, first] | (minima[:, last] >> 4 << 6),
                             (scales[:, last] & 15) | ((minima[:, last] & 15) << 4)], axis=1)
    nibbles = (codes[:, 0::2] | (codes[:, 1::2] << 4)).reshape(-1, 128)
    return np.concatenate([halves(d), halves(dmin), packed, nibbles], axis=1)


def q6_k(x):
    """d * scale * (q - 32): 128 bytes of low halves, 64 of high pairs, 16 signed scales, d."""
    groups = x.reshape(-1, 16, 16)
    step = np.abs(groups).max(axis=2) / 31
    d = np.float32(np.float16(step.max(axis=1) / 127))
    scales = np.clip(np.round(ratio(step, d[:, None] + 0 * step)), -128, 127).astype(np.int8)
    real = (d[:, None] * scales)[..., None]
    codes = (np.clip(np.round(ratio(groups, real + 0 * groups)), -32, 31) + 32).astype(np.uint8)
    runs = codes.reshape(-1, 2, 4, 32)  # halves of 128, runs of 32
    low = np.concatenate([(runs[:, :, 0] & 15) | ((runs[:, :, 2] & 15) << 4), (runs[:, :, 1] & 15) | ((runs[:, :, 3] & 15) << 4)], axis=2)
    high = sum((runs[:, :, i] >> 4) << (2 * i) for i in range(4))
    return np.concatenate([low.reshape(-1, 128), high.reshape(-1, 64), scales.view(np.uint8), halves(d)], axis=1)


OWN = {'Q4_K': q4_k, 'Q6_K': q6_k}


def encoded(values, type):
    if type.name not in OWN:
        return quantize(values, type)
    rows = OWN[type.name](values.reshape(-1, 256)).reshape(values.shape[0], -1)
    error = np.abs(dequantize(rows, type) - values).max() / np.abs(values).max()
    assert error < 0.08, f'{type.name}: largest error {error} of the largest weight'
    return rows


def main(source, out, wanted, other='Q5_1'):
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, reader.fields['general.architecture'].contents())
    for name, field in reader.fields.items():
        if name.startswith('GGUF.') or name == 'general.architecture':
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
            continue
        type = Type[wanted if wanted not in OWN or values.shape[1] % 256 == 0 else other]
        writer.add_tensor(tensor.name, encoded(values, type), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(*sys.argv[1:])
