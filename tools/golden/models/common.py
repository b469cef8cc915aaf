"""What the programs share: files of JSON, numbers in base64."""
import base64
import json
import os

import numpy as np


def base64_of(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        json.dump(value, file, ensure_ascii=False)
        file.write('\n')


def expected_of(model, ids):
    """Token ids, and the logits that a model of transformers gives them in float32."""
    import torch
    with torch.no_grad():
        logits = model(torch.tensor(ids)).logits.float()
    return {'ids': ids, 'shape': list(logits.shape), 'logits': base64_of(logits.numpy())}
