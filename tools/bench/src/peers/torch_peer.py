"""Serves torch.ts: one JSON message per line on stdin, one answer per line on stdout.

prepare {kind, attention, ...case} | run -> {milliseconds, loss where there is one} | dispose
"""

import json
import os
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError as error:
    print(json.dumps({"absent": f"{sys.executable} has no PyTorch: {error}"}), flush=True)
    sys.exit(0)

threads = os.environ.get("LAZY_ATTENTION_THREADS")
if threads:
    torch.set_num_threads(int(threads))


def lazy_attention(q, k, v, bias, tau):
    """spec §Forward as one would write it down. q, k, v: [B, H, L, D]; bias [H, W]; tau [H]."""
    length, window = q.shape[2], bias.shape[1]
    row = torch.arange(length)
    distance = row[:, None] - row[None, :]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    near = (distance >= 0) & (distance < window)
    scores = scores + torch.where(near, bias[:, distance.clamp(0, window - 1)], 0.0)
    scores = scores.masked_fill(distance < 0, float("-inf"))
    weights = torch.softmax(scores, -1) + tau[:, None, None] / (row + 1.0)[:, None]
    weights = F.relu(weights).masked_fill(distance < 0, 0.0)
    return weights @ v


def matmul(case):
    a = torch.rand(case["k"], case["m"]).t() if case["transposeA"] else torch.rand(case["m"], case["k"])
    b = torch.rand(case["n"], case["k"]).t() if case["transposeB"] else torch.rand(case["k"], case["n"])
    return lambda: a @ b


def attention(case):
    shape = (case["batch"], case["heads"], case["length"], case["headDim"])
    backward = case["backward"]
    q, k, v = (torch.rand(shape).mul(2).sub(1).requires_grad_(backward) for _ in range(3))
    bias = torch.zeros(case["heads"], case["window"])
    if case["local"] is not None:
        bias[:, case["local"]:] = -100
    bias.requires_grad_(backward)
    tau = torch.full((case["heads"],), -1.0).requires_grad_(backward)
    gradient = torch.rand(shape)

    def forward():
        if case["attention"] == "lazy":
            return lazy_attention(q, k, v, bias, tau)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def run():
        if not backward:
            with torch.no_grad():
                return forward()
        for tensor in (q, k, v, bias, tau):
            tensor.grad = None
        forward().backward(gradient)

    return run


class Model(torch.nn.Module):
    """The architecture of packages/nn in eager PyTorch."""

    def __init__(self, c, kind):
        super().__init__()
        self.c, self.kind = c, kind
        hidden, inner = c["hiddenSize"], c["intermediateSize"]
        heads, dim = c["numHeads"], c["headDim"]
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.embeddings = torch.nn.Embedding(c["vocabSize"], hidden)
        self.layers = torch.nn.ModuleList()
        for _ in range(c["numLayers"]):
            layer = torch.nn.ModuleDict(
                dict(q=linear(hidden, heads * dim), k=linear(hidden, heads * dim), v=linear(hidden, heads * dim),
                     o=linear(heads * dim, hidden), gate=linear(hidden, inner), up=linear(hidden, inner),
                     down=linear(inner, hidden), norm1=torch.nn.RMSNorm(hidden), norm2=torch.nn.RMSNorm(hidden)))
            layer.bias = torch.nn.Parameter(torch.zeros(heads, c["window"]))
            layer.tau = torch.nn.Parameter(torch.full((heads,), -1.0))
            self.layers.append(layer)
        self.norm = torch.nn.RMSNorm(hidden)
        self.head = linear(hidden, c["vocabSize"])
        angle = torch.arange(c["context"])[:, None] * c["ropeBase"] ** (-torch.arange(0, dim, 2) / dim)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def rope(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), -1)

    def forward(self, tokens):
        c = self.c
        batch, length = tokens.shape
        x = self.embeddings(tokens)
        split = lambda y: y.view(batch, length, c["numHeads"], c["headDim"]).transpose(1, 2)
        for layer in self.layers:
            h = layer["norm1"](x)
            q, k, v = self.rope(split(layer["q"](h))), self.rope(split(layer["k"](h))), split(layer["v"](h))
            if self.kind == "lazy":
                o = lazy_attention(q, k, v, layer.bias, layer.tau)
            else:
                o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer["o"](o.transpose(1, 2).reshape(batch, length, -1))
            h = layer["norm2"](x)
            x = x + layer["down"](F.silu(layer["gate"](h)) * layer["up"](h))
        return self.head(self.norm(x))


def train(case):
    c = case["model"]
    model = Model(c, case["attention"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=case["learningRate"], betas=(0.9, 0.95), weight_decay=0.1)
    tokens = torch.randint(0, c["vocabSize"], (case["batch"], c["context"]))

    def run():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return run


def finetune(case):
    """Steps of a whole model that transformers reads, its attention by scaled_dot_product_attention. Models are read once."""
    from transformers import AutoModelForCausalLM

    file, key = case["file"], (case["file"], case["autocast"])
    if key not in tuned:
        folder, name = os.path.split(file)
        gguf = {"gguf_file": name} if name.endswith(".gguf") else {}
        model = AutoModelForCausalLM.from_pretrained(
            folder if gguf else file, dtype=torch.float32, attn_implementation="sdpa", **gguf).train()
        tuned[key] = model, torch.optim.AdamW(
            model.parameters(), lr=case["learningRate"], betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    model, optimizer = tuned[key]
    tokens, targets = (torch.tensor(case[key]).view(case["batch"], -1) for key in ("tokens", "targets"))

    def run():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=case["autocast"]):
            logits = model(input_ids=tokens, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return run


tuned = {}
CASES = {"matmul": matmul, "attention": attention, "train": train, "finetune": finetune}
work = None
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    try:
        if message["command"] == "prepare":
            work = CASES[message["kind"]](message)
            reply = {}
        elif message["command"] == "run":
            start = time.perf_counter()
            result = work()
            reply = {"milliseconds": (time.perf_counter() - start) * 1e3}
            if isinstance(result, float):
                reply["loss"] = result
        else:
            work = None
            reply = {}
    except Exception as error:  # reported to the benchmark, which lists it
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
