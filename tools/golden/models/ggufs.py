"""GGUF files of random models and of trained tokenizers, with logits by transformers and ids by the libraries that trained them."""
import json
import os
import shutil
import tempfile

import gguf
import numpy as np
import sentencepiece
import torch
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from common import expected_of, write_json
from folders import ids_of, randomise

SIZES = dict(vocab_size=40, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, rope_parameters={'rope_type': 'default', 'rope_theta': 200.0}, pad_token_id=None)
TEXT = """Call me Ishmael. Some years ago -- never mind how long precisely -- having little or no money in my purse, and nothing
particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a way I have
of driving off the spleen and regulating the circulation. In 1851 there were 3 ships, 27 men and 1,234 barrels; we've seen them, they'll
return. Whenever I find myself growing grim about the mouth; whenever it is a damp, drizzly November in my soul...
"""
ODD = ['', ' ', '  two  spaces', "We'LL see, they've 1234567 men", 'naïve café “q” — x', 'a  1\t2\n\n 3', '日本語 text', '🙂e\u0301', '½ ² ١٢٣',
       'trailing  ', '\n\n\nlines\r\n', '<s>not special', 'Ishmael sails in 1851.']

NAMES = [('model.embed_tokens', 'token_embd'), ('model.layers.', 'blk.'), ('model.norm', 'output_norm'), ('lm_head', 'output'),
         ('input_layernorm', 'attn_norm'), ('post_attention_layernorm', 'ffn_norm'), ('self_attn.q_proj', 'attn_q'), ('self_attn.k_proj', 'attn_k'),
         ('self_attn.v_proj', 'attn_v'), ('self_attn.o_proj', 'attn_output'), ('self_attn.q_norm', 'attn_q_norm'), ('self_attn.k_norm', 'attn_k_norm'),
         ('mlp.gate_proj', 'ffn_gate'), ('mlp.up_proj', 'ffn_up'), ('mlp.down_proj', 'ffn_down')]


def gguf_name(name):
    for old, new in NAMES:
        name = name.replace(old, new)
    return name


def pairs(value, heads):
    """Rotate-halves order to pairs side by side, whole heads of rows."""
    return value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def write_model(path, arch, model, type):
    config = model.config
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim if hasattr(config, 'head_dim') else config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters['rope_theta'])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tied = config.tie_word_embeddings
    for name, parameter in model.named_parameters():
        value = parameter.data.numpy().astype(np.float32)
        if tied and name == 'lm_head.weight':
            continue
        if arch == 'llama' and '.q_proj.' in name:
            value = pairs(value, config.num_attention_heads)
        if arch == 'llama' and '.k_proj.' in name:
            value = pairs(value, config.num_key_value_heads)
        if value.ndim == 1:
            writer.add_tensor(gguf_name(name), value)
        elif type in (Type.F32, Type.F16):
            writer.add_tensor(gguf_name(name), value.astype(np.float16 if type == Type.F16 else np.float32))
        else:
            writer.add_tensor(gguf_name(name), quantize(value, type), raw_dtype=type)
            back = dequantize(quantize(value, type), type)
            if arch == 'llama' and '.q_proj.' in name:
                back = unpaired(back, config.num_attention_heads)
            if arch == 'llama' and '.k_proj.' in name:
                back = unpaired(back, config.num_key_value_heads)
            parameter.data = torch.from_numpy(back.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def unpaired(value, heads):
    return value.reshape(heads, -1, 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def write(out):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    cases = {
        'llama-q4_1': ('llama', lambda: LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=8, tie_word_embeddings=True)), Type.Q4_1),
        'llama-f16': ('llama', lambda: LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=8, attention_bias=False)), Type.F16),
        'qwen2-q8_0': ('qwen2', lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)), Type.Q8_0),
        'qwen3-f32': ('qwen3', lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)), Type.F32),
    }
    for seed, (name, (arch, make, type)) in enumerate(cases.items()):
        model = make()
        randomise(model, 100 + seed)
        write_model(f'{out}/{name}.gguf', arch, model, type)
        write_json(f'{out}/{name}.json', expected_of(model, ids_of(100 + seed)))
    tokenizers(out)
    sentence_piece(out)


def tokenizer_file(path, model, pre, tokens, types, scores=None, merges=None, special=None):
    writer = gguf.GGUFWriter(path, 'llama')
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores is not None:
        writer.add_token_scores(scores)
    if merges is not None:
        writer.add_token_merges(merges)
    for role, id in (special or {}).items():
        getattr(writer, f'add_{role}_token_id')(id)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# The expressions that the models' own tokenizer.json have.
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace('{1,3}', '')


def split_by(expression):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(expression), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


SPLITS = {
    'gpt-2': (pre_tokenizers.ByteLevel(add_prefix_space=False), None, False),
    'smollm': (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), None, False),
    'llama-bpe': (split_by(LLAMA3), None, True),
    'qwen2': (split_by(QWEN2), normalizers.NFC(), False),
}


def tokenizers(out):
    for name, (split, normalizer, ignore) in SPLITS.items():
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore))
        tokenizer.pre_tokenizer = split
        tokenizer.decoder = decoders.ByteLevel()
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(
            vocab_size=400, special_tokens=['<s>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        data = json.loads(tokenizer.to_str())['model']
        tokens = [token for token, _ in sorted(data['vocab'].items(), key=lambda item: item[1])]
        tokenizer_file(f'{out}/tokenizer-{name}.gguf', 'gpt2', name, tokens, [3] + [1] * (len(tokens) - 1),
                       merges=[' '.join(merge) for merge in data['merges']], special={'bos': 0})
        write_json(f'{out}/tokenizer-{name}.json', cases(lambda text: tokenizer.encode(text).ids, tokenizer.decode))


def cases(encode, decode):
    return [{'text': text, 'ids': encode(text), 'decoded': decode(encode(text))} for text in [*ODD, TEXT]]


def sentence_piece(out):
    with tempfile.TemporaryDirectory() as folder:
        with open(f'{folder}/text', 'w') as file:
            file.write(TEXT)
        sentencepiece.SentencePieceTrainer.train(
            input=f'{folder}/text', model_prefix=f'{folder}/m', vocab_size=420, model_type='bpe', byte_fallback=True, character_coverage=0.99,
            normalization_rule_name='identity', remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
            minloglevel=2)
        spm = sentencepiece.SentencePieceProcessor(model_file=f'{folder}/m.model')
    size = spm.get_piece_size()
    types = [6 if spm.is_byte(i) else 2 if spm.is_unknown(i) else 3 if spm.is_control(i) else 1 for i in range(size)]
    tokenizer_file(f'{out}/tokenizer-llama.gguf', 'llama', 'default', [spm.id_to_piece(i) for i in range(size)], types,
                   scores=[spm.get_score(i) for i in range(size)], special={'bos': 1, 'eos': 2, 'unk': 0})
    # sentencepiece reads <s> in a text as letters; a special token is one here, as in transformers.
    texts = [text for text in [*ODD, TEXT] if '<s>' not in text]
    write_json(f'{out}/tokenizer-llama.json', [
        {'text': text, 'ids': spm.encode(text), 'decoded': spm.decode(spm.encode(text))} for text in texts])
