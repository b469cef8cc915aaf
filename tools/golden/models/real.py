"""What transformers makes of the real models, in float64 on the dequantised weights."""
import glob
import hashlib
import json
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
from tokenizers import Tokenizer, pre_tokenizers

from common import write_json
from ggufs import ODD

TEXT = ('Call me Ishmael. Some years ago\u2014never mind how long precisely\u2014having little or no money in my purse, and nothing particular to '
        'interest me on shore, I thought I would sail about a little and see the watery part of the world.')


def smollm2(path):
    folder, name = os.path.split(path)
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    del read.config.quantization_config
    model = LlamaForCausalLM(read.config)
    model.load_state_dict(read.state_dict())
    return model.double().eval(), AutoTokenizer.from_pretrained(folder, gguf_file=name)


def behaviour(model, ids, prompt):
    with torch.no_grad():
        logs = torch.log_softmax(model(torch.tensor([ids])).logits[0], -1)
        greedy = model.generate(torch.tensor([prompt]), max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0)
    return {'ids': ids, 'logProbabilities': [logs[i, id].item() for i, id in enumerate(ids[1:])], 'prompt': prompt,
            'greedy': greedy[0].tolist()[len(prompt):]}


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


def digests(tokenizer, benchmarks):
    """Of the ids of every string of every file, in order: one line of JSON each."""
    result = {}
    for path in sorted(glob.glob(f'{benchmarks}/*/*.jsonl')):
        hash = hashlib.sha256()
        with open(path) as file:
            for line in file:
                for text in strings(json.loads(line)):
                    ids = tokenizer.encode(text, add_special_tokens=False).ids
                    hash.update((json.dumps(ids, separators=(',', ':')) + '\n').encode())
        result[os.path.relpath(path, benchmarks)] = hash.hexdigest()
    return result


def odd(tokenizer):
    return [{'text': text, 'ids': tokenizer.encode(text, add_special_tokens=False).ids} for text in ODD]


def write(out, gguf, stories, benchmarks):
    model, fast = smollm2(gguf)
    ids = fast(TEXT, add_special_tokens=False).input_ids
    # transformers ignores the key `pre` of a GGUF; the model's own tokenizer has digits apart.
    as_written = fast.backend_tokenizer
    tokenizer = Tokenizer.from_str(as_written.to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    write_json(out, {
        'smollm2': {'text': TEXT, **behaviour(model, ids, ids[:8])},
        'odd': odd(tokenizer),
        'benchmarks': digests(tokenizer, benchmarks),
        # Of the folder that transformers writes from the GGUF: without digits apart.
        'folder': {'odd': odd(as_written), 'benchmarks': digests(as_written, benchmarks)},
        'stories260K': behaviour(AutoModelForCausalLM.from_pretrained(stories, dtype=torch.float64).eval(), [1, 403, 407, 261, 378, 432, 421], [1]),
    })
