"""Blocks of every quantisation that is read, and the numbers that the gguf package makes of them."""
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize

from common import base64_of, write_json

# Where the half-precision scales of a block are.
SCALES = {'Q4_0': [0], 'Q4_1': [0, 2], 'Q5_0': [0], 'Q5_1': [0, 2], 'Q8_0': [0], 'Q2_K': [80, 82], 'Q3_K': [108],
          'Q4_K': [0, 2], 'Q5_K': [0, 2], 'Q6_K': [208], 'IQ4_NL': [0], 'IQ4_XS': [0]}
PLAIN = {'F32': np.float32, 'F16': np.float16, 'F64': np.float64}


def write(path):
    random = np.random.default_rng(0)
    cases = []
    for name in [*SCALES, *PLAIN, 'BF16']:
        type = Type[name]
        _, size = GGML_QUANT_SIZES[type]
        if name in PLAIN:
            data = random.standard_normal(64).astype(PLAIN[name])
            values = data.astype(np.float64)
            data = data.view(np.uint8)
        elif name == 'BF16':
            data = (random.standard_normal(64).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
            values = dequantize(data, type).astype(np.float64)
        else:
            data = random.integers(0, 256, (3, size), dtype=np.uint8)
            for at in SCALES[name]:
                scales = (random.standard_normal(3) / 16).astype(np.float16)
                data[:, at:at + 2] = scales.view(np.uint8).reshape(3, 2)
            values = dequantize(data, type).astype(np.float64).reshape(-1)
            data = data.reshape(-1)
        cases.append({'type': int(type), 'name': name, 'bytes': base64_of(data), 'values': base64_of(values)})
    write_json(path, cases)
