"""Folders of random models, one for each option of config.json, with logits by transformers in float32."""
import json
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import (AttentionInterface, GptOssConfig, GptOssForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM)

from common import expected_of, write_json

SIZES = dict(vocab_size=40, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=None)
LENGTH = 24


def llama(**options):
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, 'head_dim': 8, **options}))


MODELS = {
    'llama': lambda: llama(),
    'tied': lambda: llama(tie_word_embeddings=True),
    'multi-head': lambda: llama(num_key_value_heads=4, head_dim=12),
    'rope-theta': lambda: llama(rope_parameters={'rope_type': 'default', 'rope_theta': 500.0}),
    'rope-linear': lambda: llama(rope_parameters={'rope_type': 'linear', 'rope_theta': 100.0, 'factor': 4.0}),
    'rope-dynamic': lambda: llama(max_position_embeddings=8, rope_parameters={'rope_type': 'dynamic', 'rope_theta': 100.0, 'factor': 2.0}),
    'rope-llama3': lambda: llama(rope_parameters={
        'rope_type': 'llama3', 'rope_theta': 100.0, 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
        'original_max_position_embeddings': 16}),
    'rope-yarn': lambda: llama(rope_parameters={
        'rope_type': 'yarn', 'rope_theta': 100.0, 'factor': 4.0, 'original_max_position_embeddings': 16, 'beta_fast': 4.0, 'beta_slow': 1.0}),
    'rope-yarn-mscale': lambda: llama(rope_parameters={
        'rope_type': 'yarn', 'rope_theta': 100.0, 'factor': 4.0, 'original_max_position_embeddings': 16, 'mscale': 1.0,
        'mscale_all_dim': 0.5, 'truncate': False}),
    'attention-bias': lambda: llama(attention_bias=True),
    'mlp-bias': lambda: llama(mlp_bias=True),
    'mistral': lambda: MistralForCausalLM(MistralConfig(**SIZES, head_dim=8, sliding_window=6)),
    'mistral-full': lambda: MistralForCausalLM(MistralConfig(**SIZES, head_dim=8, sliding_window=None)),
    'qwen2': lambda: Qwen2ForCausalLM(Qwen2Config(**{**SIZES, 'hidden_size': 32}, use_sliding_window=False)),
    'qwen2-sliding': lambda: Qwen2ForCausalLM(Qwen2Config(
        **{**SIZES, 'hidden_size': 32}, use_sliding_window=True, sliding_window=5, max_window_layers=1)),
    'qwen3': lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True)),
    'qwen3-bias': lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, attention_bias=True)),
    'smollm3': lambda: SmolLM3ForCausalLM(SmolLM3Config(**{**SIZES, 'hidden_size': 32}, no_rope_layers=[1, 0])),
    'smollm3-bias': lambda: SmolLM3ForCausalLM(SmolLM3Config(
        **{**SIZES, 'hidden_size': 32}, no_rope_layers=[0, 1], attention_bias=True, mlp_bias=True, tie_word_embeddings=False)),
}
# Types that the weights are stored in; one case each is enough.
TYPES = {'tied': torch.float16, 'rope-theta': torch.float32, 'multi-head': torch.float64}


def randomise(model, seed):
    """Weights that matter: transformers' own are so small that attention is uniform. bfloat16 holds them exactly, unless TYPES says more."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        scale = 0.3 if 'norm' in name or name.endswith('bias') else 0.35
        value = torch.randn(parameter.shape, generator=generator) * scale + (1 if 'norm' in name else 0)
        parameter.data = value.bfloat16().float()
    model.eval()


def ids_of(seed):
    generator = torch.Generator().manual_seed(seed + 1000)
    return torch.randint(0, SIZES['vocab_size'], (2, LENGTH), generator=generator).tolist()


def write(out):
    shutil.rmtree(out, ignore_errors=True)
    for seed, (name, make) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = make()
        randomise(model, seed)
        expected = expected_of(model, ids_of(seed))
        model.to(TYPES.get(name, torch.bfloat16)).save_pretrained(f'{out}/{name}')
        tidy(f'{out}/{name}', expected)
    old_keys(out)
    sharded(out)
    fla(out)
    lazy(out)
    sinks(out)


def tidy(folder, expected):
    for name in os.listdir(folder):
        if name.startswith('generation_config'):
            os.remove(f'{folder}/{name}')
    write_json(f'{folder}/expected.json', expected)


def old_keys(out):
    """The keys of transformers 4: rope_theta and rope_scaling with `type`."""
    shutil.copytree(f'{out}/rope-linear', f'{out}/rope-scaling')
    with open(f'{out}/rope-scaling/config.json') as file:
        config = json.load(file)
    rope = config.pop('rope_parameters')
    config.update(rope_theta=rope['rope_theta'], rope_scaling={'type': 'linear', 'factor': rope['factor']})
    write_json(f'{out}/rope-scaling/config.json', config)


def sharded(out):
    model = llama()
    randomise(model, 0)
    expected = expected_of(model, ids_of(0))
    model.bfloat16().save_pretrained(f'{out}/sharded', max_shard_size='8KB')
    tidy(f'{out}/sharded', expected)


def fla_state(model):
    names = [('embed_tokens', 'embeddings'), ('input_layernorm', 'attn_norm'), ('post_attention_layernorm', 'mlp_norm'), ('self_attn', 'attn')]
    state = {}
    for key, value in model.state_dict().items():
        for old, new in names:
            key = key.replace(old, new)
        state[key] = value.bfloat16().contiguous()
    return state


FLA = {'model_type': 'transformer', 'vocab_size': 40, 'hidden_size': 24, 'intermediate_size': None, 'hidden_ratio': 4, 'num_hidden_layers': 2,
       'num_heads': 4, 'num_kv_heads': 2, 'qkv_bias': False, 'qk_norm': False, 'window_size': None, 'rope_theta': 10000.0, 'hidden_act': 'swish',
       'max_position_embeddings': 64, 'norm_eps': 1e-06, 'tie_word_embeddings': False, 'attn': None, 'elementwise_affine': True}


def save_fla(folder, config, state, expected):
    os.makedirs(folder)
    save_file(state, f'{folder}/model.safetensors', metadata={'format': 'pt'})
    write_json(f'{folder}/config.json', config)
    write_json(f'{folder}/expected.json', expected)


def fla(out):
    """flash-linear-attention's `transformer` computes what Llama does, under other names."""
    model = llama(head_dim=None, hidden_size=32, intermediate_size=256)
    randomise(model, 50)
    save_fla(f'{out}/fla', {**FLA, 'hidden_size': 32}, fla_state(model), expected_of(model, ids_of(50)))


def elastic(module, query, key, value, attention_mask, scaling, **_):
    """docs/spec.md, Forward, with the authors' names: tau = -abs(softmax_offset + 1)."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    length = query.shape[2]
    rows = torch.arange(length)
    distance = rows[:, None] - rows[None, :]
    scores = query @ key.transpose(2, 3) * scaling
    bias = module.learnable_bias_diagonals
    inside = (distance >= 0) & (distance < bias.shape[1])
    scores = scores + torch.where(inside, bias[:, distance.clamp(0, bias.shape[1] - 1)], 0.0)
    weights = scores.masked_fill(distance < 0, float('-inf')).softmax(-1)
    weights = weights - (module.softmax_offset + 1).abs()[:, None, None] / (rows + 1)[:, None]
    return (weights.clamp(min=0) @ value).transpose(1, 2).contiguous(), weights


def lazy(out):
    """The authors' Lazy Attention in fla's layout."""
    AttentionInterface.register('elastic', elastic)
    model = llama(hidden_size=32, head_dim=None, intermediate_size=256, num_key_value_heads=2)
    model.config._attn_implementation = 'elastic'
    randomise(model, 60)
    generator = torch.Generator().manual_seed(61)
    for layer in model.model.layers:
        layer.self_attn.learnable_bias_diagonals = torch.nn.Parameter(torch.randn((4, 16), generator=generator).bfloat16().float())
        layer.self_attn.softmax_offset = torch.nn.Parameter((torch.randn(4, generator=generator) / 2).bfloat16().float())
    config = {**FLA, 'model_type': 'swat', 'hidden_size': 32, 'max_bias_length': 16, 'use_learnable_bias': True}
    save_fla(f'{out}/authors', config, fla_state(model), expected_of(model, ids_of(60)))


class Dense(torch.nn.Module):
    """Llama's MLP where gpt-oss has experts: the scores of the router are none."""

    def __init__(self, config):
        super().__init__()
        self.gate_proj = torch.nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = torch.nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = torch.nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x)), None


def sinks(out):
    """gpt-oss's attention (a sink logit per head, layers with and without window, biases) with a dense MLP."""
    rope = {'rope_type': 'yarn', 'rope_theta': 100.0, 'factor': 4.0, 'original_max_position_embeddings': 16, 'beta_fast': 4.0, 'beta_slow': 1.0,
            'truncate': False}
    model = GptOssForCausalLM(GptOssConfig(**SIZES, head_dim=8, sliding_window=5, num_local_experts=1, num_experts_per_tok=1, rope_parameters=rope,
                                           attn_implementation='eager'))
    for layer in model.model.layers:
        layer.mlp = Dense(model.config)
    randomise(model, 70)
    generator = torch.Generator().manual_seed(71)
    for layer in model.model.layers:
        layer.self_attn.sinks.data = torch.randn(4, generator=generator).bfloat16().float()
    expected = expected_of(model, ids_of(70))
    state = {name: value.bfloat16().contiguous() for name, value in model.state_dict().items()}
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(f'{out}/gpt-oss-dense')
    save_file(state, f'{out}/gpt-oss-dense/model.safetensors', metadata={'format': 'pt'})
    tidy(f'{out}/gpt-oss-dense', expected)
