"""Lazy Attention in PyTorch: opens what `lazy-attention export MODEL --format hf --out DIR` writes, trains and decodes it.

    model = LazyModel.load('DIR')                    # config.json and model.safetensors
    logits = model(torch.tensor([[1, 2, 3]]))        # [B, L, vocabulary]

Plain PyTorch and safetensors; transformers is not needed. The formulas are those of docs/spec.md.
    python modeling_lazy.py DIR 'text'               # continues a text (needs tokenizers)
"""
import json
import math
import sys

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


KINDS = ('softmax', 'lazy', 'bias-only', 'elastic-only', 'alibi', 'sink', 'off-by-one')


class Attention(nn.Module):
    """docs/spec.md, Forward: softmax of scores with a bias by distance, an offset tau / n, and a ReLU."""

    def __init__(self, config, layer):
        super().__init__()
        self.heads, self.kv_heads, self.width = config['num_attention_heads'], config['num_key_value_heads'], config['head_dim']
        self.kind = config.get('attention_kind', 'softmax')
        types = config.get('layer_types')
        self.window = config.get('sliding_window') if types is None or types[layer] == 'sliding_attention' else None
        if self.kind not in KINDS:
            raise ValueError(f'attention_kind is {self.kind!r}; this file reads {", ".join(KINDS)}')
        hidden, biased = config['hidden_size'], config['attention_bias']
        self.q_proj = nn.Linear(hidden, self.heads * self.width, bias=biased)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.width, bias=biased)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.width, bias=biased)
        self.o_proj = nn.Linear(self.heads * self.width, hidden, bias=biased)
        if self.kind in ('lazy', 'bias-only'):
            self.bias = nn.Parameter(torch.zeros(self.heads, config['attention_bias_width']))
        if self.kind in ('lazy', 'elastic-only'):
            self.tau = nn.Parameter(-torch.ones(self.heads))
        elif self.kind == 'sink':
            self.sinks = nn.Parameter(torch.zeros(self.heads))
        elif self.kind == 'alibi':
            self.register_buffer('slopes', torch.tensor(alibi_slopes(self.heads)), persistent=False)

    def forward(self, x, cos, sin):
        split = lambda y, heads: y.view(*x.shape[:2], heads, self.width).transpose(1, 2)
        q, k, v = split(self.q_proj(x), self.heads), split(self.k_proj(x), self.kv_heads), split(self.v_proj(x), self.kv_heads)
        if self.kind != 'alibi':
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = self.heads // self.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = self.weights(q, k).to(v.dtype) @ v
        return self.o_proj(out.transpose(1, 2).reshape(*x.shape[:2], -1))

    def weights(self, q, k):
        """[B, H, L, L] in float32 or better; they need not sum to one, and may be exactly zero."""
        rows = torch.arange(q.shape[2], device=q.device)
        distance = rows[:, None] - rows[None, :]
        seen = distance >= 0 if self.window is None else (distance >= 0) & (distance < self.window)
        scores = (q @ k.transpose(2, 3)).to(torch.promote_types(q.dtype, torch.float32)) / math.sqrt(self.width)
        if self.kind in ('lazy', 'bias-only'):
            near = (distance >= 0) & (distance < self.bias.shape[1])
            scores = scores + torch.where(near, self.bias[:, distance.clamp(0, self.bias.shape[1] - 1)], 0.0)
        elif self.kind == 'alibi':
            scores = scores - self.slopes[:, None, None] * distance
        scores = scores.masked_fill(~seen, -math.inf)
        if self.kind in ('sink', 'off-by-one'):  # docs/spec.md, Sink logit: a key that is not there
            sink = self.sinks if self.kind == 'sink' else scores.new_zeros(self.heads)
            scores = torch.cat([scores, sink.to(scores)[None, :, None, None].expand(*scores.shape[:3], 1)], -1)
        weights = scores.softmax(-1)[..., :q.shape[2]]
        if self.kind in ('lazy', 'elastic-only'):
            count = seen.sum(-1, keepdim=True)  # n_i, the keys that row i attends
            weights = torch.where(seen, (weights + self.tau[:, None, None] / count).relu(), 0.0)
        return weights


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        sizes, biased = (config['hidden_size'], config['intermediate_size']), config['mlp_bias']
        self.gate_proj, self.up_proj = nn.Linear(*sizes, bias=biased), nn.Linear(*sizes, bias=biased)
        self.down_proj = nn.Linear(*sizes[::-1], bias=biased)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        norm = lambda: nn.RMSNorm(config['hidden_size'], eps=config['rms_norm_eps'])
        self.input_layernorm, self.post_attention_layernorm = norm(), norm()
        self.self_attn, self.mlp = Attention(config, layer), Mlp(config)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class LazyModel(nn.Module):
    """The decoder; `config` is the parsed config.json."""

    def __init__(self, config):
        super().__init__()
        if config['model_type'] not in ('llama', 'lazy_attention'):
            raise ValueError(f"model_type is {config['model_type']!r}; this file reads 'lazy_attention' and 'llama'")
        if config.get('rope_scaling') is not None:
            raise ValueError('rope_scaling is not read by this file')
        self.config = config
        self.model = nn.ModuleDict({
            'embed_tokens': nn.Embedding(config['vocab_size'], config['hidden_size']),
            'layers': nn.ModuleList(Layer(config, layer) for layer in range(config['num_hidden_layers'])),
            'norm': nn.RMSNorm(config['hidden_size'], eps=config['rms_norm_eps']),
        })
        self.lm_head = nn.Linear(config['hidden_size'], config['vocab_size'], bias=False)
        if config['tie_word_embeddings']:
            self.lm_head.weight = self.model['embed_tokens'].weight

    @classmethod
    def load(cls, folder):
        """Every tensor must be there and have a place."""
        with open(f'{folder}/config.json') as file:
            model = cls(json.load(file))
        state = load_file(f'{folder}/model.safetensors')
        if model.config['tie_word_embeddings']:
            state['lm_head.weight'] = state['model.embed_tokens.weight']
        model.load_state_dict(state)
        return model

    def forward(self, tokens):
        """tokens [B, L] to logits [B, L, vocabulary]."""
        x = self.model['embed_tokens'](tokens)
        cos, sin = rotations(tokens.shape[1], self.config['head_dim'], self.config['rope_theta'], x)
        for layer in self.model['layers']:
            x = layer(x, cos, sin)
        return self.lm_head(self.model['norm'](x))

    @torch.no_grad()
    def generate(self, ids, count):
        """The likeliest `count` tokens after `ids`, without a cache."""
        ids = list(ids)
        for _ in range(count):
            window = ids[-self.config['max_position_embeddings']:]
            ids.append(int(self(torch.tensor([window]))[0, -1].argmax()))
        return ids[-count:]


def rotations(length, width, base, like):
    """docs/spec.md, RoPE: halves are rotated."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(like), angles.sin().to(like)


def rotate(x, cos, sin):
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


def alibi_slopes(heads):
    """Press et al.: powers of two, and where the number of heads is none, every other one of the next."""
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    return slopes + [2 ** (-8 * (2 * i + 1) / (2 * power)) for i in range(heads - power)]


if __name__ == '__main__':
    from tokenizers import Tokenizer
    folder, text = sys.argv[1:3]
    tokenizer = Tokenizer.from_file(f'{folder}/tokenizer.json')
    print(text + tokenizer.decode(LazyModel.load(folder).generate(tokenizer.encode(text).ids, 64)))
