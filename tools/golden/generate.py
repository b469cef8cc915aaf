"""Writes the golden fixtures that keep the reference backend honest.

Every op's forward formula is written here from docs/spec.md in float64 PyTorch, and the gradients come from PyTorch's
autograd, so that neither shares a line or an idea with our own backward passes.

    python tools/golden/generate.py packages/backend-reference/test/fixtures

Needs torch (any 2.x, CPU). The output is the same byte for byte with the same torch version.
"""

import base64
import json
import math
import sys
from pathlib import Path

import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


# Formulas of docs/spec.md


def attended(batch, queries, keys, starts):
    """[B, 1, L, S]: which keys row r attends, and [B, 1, L, 1]: how many they are (n)."""
    position = torch.arange(queries).view(1, queries, 1) + keys - queries
    key = torch.arange(keys).view(1, 1, keys)
    first = torch.zeros(batch, queries, dtype=torch.int32) if starts is None else starts
    first = first.view(batch, queries, 1)
    mask = (key <= position) & (key >= first)
    count = position - first + 1
    return mask.unsqueeze(1), count.unsqueeze(1)


def elastic_softmax(scores, tau, starts):
    batch, heads, queries, keys = scores.shape
    mask, count = attended(batch, queries, keys, starts)
    p = torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
    if tau is None:
        return p
    w = torch.relu(p + tau.view(1, heads, 1, 1) / count)
    return torch.where(mask, w, torch.zeros(()))


def attention_weights(q, k, bias, tau, starts, scale):
    _, queries, heads, dim = q.shape
    keys, kv_heads = k.shape[1], k.shape[2]
    k = k.repeat_interleave(heads // kv_heads, dim=2)
    scale = 1 / math.sqrt(dim) if scale is None else scale
    scores = scale * torch.einsum("blhd,bshd->bhls", q, k)
    if bias is not None:
        window = bias.shape[1]
        position = torch.arange(queries).view(queries, 1) + keys - queries
        distance = position - torch.arange(keys).view(1, keys)
        inside = (distance >= 0) & (distance < window)
        table = bias[:, distance.clamp(0, window - 1)]
        scores = scores + torch.where(inside, table, torch.zeros(()))
    return elastic_softmax(scores, tau, starts)


def attention(q, k, v, bias=None, tau=None, starts=None, scale=None):
    w = attention_weights(q, k, bias, tau, starts, scale)
    return torch.einsum("bhls,bshd->blhd", w, v.repeat_interleave(q.shape[2] // v.shape[2], dim=2))


def rms_norm(x, weight, epsilon):
    return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + epsilon) * weight


def rope(x, base, offset):
    _, length, _, dim = x.shape
    frequency = base ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / dim)
    angle = (offset + torch.arange(length)).view(1, length, 1, 1) * frequency
    first, second = x[..., : dim // 2], x[..., dim // 2 :]
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


# Fixtures


def encode(x):
    if x.dtype == torch.int32:
        return {"shape": list(x.shape), "dtype": "i32", "data": x.flatten().tolist()}
    raw = x.detach().contiguous().numpy().astype("<f8").tobytes()
    return {"shape": list(x.shape), "dtype": "f64", "data": base64.b64encode(raw).decode()}


def fixture(op, name, inputs, options, y, extra=None, dy=None):
    """A forward result and, by autograd, the gradient of sum(dy * y) for every floating input."""
    result = {"op": op, "name": name, "options": options, "inputs": {k: encode(x) for k, x in inputs.items()}}
    result["outputs"] = {"y": encode(y), **{k: encode(x) for k, x in (extra or {}).items()}}
    if y.requires_grad:
        dy = torch.randn_like(y) if dy is None else dy
        leaves = {k: x for k, x in inputs.items() if x.requires_grad}
        gradients = torch.autograd.grad((y * dy).sum(), list(leaves.values()))
        result["dy"] = encode(dy)
        result["gradients"] = {k: encode(g) for k, g in zip(leaves, gradients)}
    return result


def normal(*shape, deviation=1.0, mean=0.0):
    return (mean + deviation * torch.randn(*shape)).requires_grad_()


def attention_fixture(name, B=2, L=6, S=None, H=2, Hkv=None, D=4, W=None, tau=None, starts=None, scale=None):
    S, Hkv = S or L, Hkv or H
    inputs = {"q": normal(B, L, H, D), "k": normal(B, S, Hkv, D), "v": normal(B, S, Hkv, D)}
    if W is not None:
        inputs["bias"] = normal(H, W, deviation=0.5)
    if tau is not None:
        inputs["tau"] = torch.tensor(tau).requires_grad_()
    if starts is not None:
        inputs["starts"] = torch.tensor(starts, dtype=torch.int32)
    y = attention(**inputs, scale=scale)
    named = {k: inputs.get(k) for k in ("q", "k", "bias", "tau", "starts")}
    weights = attention_weights(**named, scale=scale)
    return fixture("attention", name, inputs, {} if scale is None else {"scale": scale}, y, {"weights": weights})


def attention_fixtures():
    return [
        attention_fixture("softmax"),
        attention_fixture("lazy", W=4, tau=[-1.0, -0.7]),
        attention_fixture("window_wider_than_keys", W=9, tau=[-1.0, -0.4]),
        attention_fixture("window_of_one", W=1, tau=[-0.9, -1.1]),
        attention_fixture("grouped_query", H=4, Hkv=2, W=5, tau=[-1.3, -0.2, -0.9, -0.6]),
        attention_fixture("tau_of_any_sign", H=3, W=3, tau=[0.6, 0.0, -1.4]),
        attention_fixture("fully_inactive", tau=[-50.0, -50.0]),
        attention_fixture("chunk", L=3, S=7, H=2, Hkv=1, W=5, tau=[-1.0, -0.8]),
        attention_fixture("decode", L=1, S=9, W=6, tau=[-1.0, 0.3]),
        attention_fixture("packed", W=4, tau=[-1.0, -0.6], starts=[[0, 0, 2, 2, 4, 4], [0, 1, 1, 1, 1, 5]]),
        attention_fixture("positive_tau_and_starts", tau=[0.9, 1.5], starts=[[0, 0, 0, 3, 3, 3], [0, 1, 2, 3, 4, 5]]),
        attention_fixture("chunk_with_starts", L=3, S=7, W=9, tau=[-1.0, -0.8], starts=[[2, 2, 5], [0, 4, 4]]),
        attention_fixture("given_scale", W=3, tau=[-1.0, -0.8], scale=1.7),
        attention_fixture("head_dim_12", B=1, L=5, H=1, D=12, W=3, tau=[-0.9]),
    ]


def elastic_fixtures():
    def one(name, B=2, H=2, L=5, S=5, tau=None, starts=None):
        inputs = {"scores": normal(B, H, L, S, deviation=1.5)}
        if tau is not None:
            inputs["tau"] = torch.tensor(tau).requires_grad_()
        if starts is not None:
            inputs["starts"] = torch.tensor(starts, dtype=torch.int32)
        y = elastic_softmax(inputs["scores"], inputs.get("tau"), inputs.get("starts"))
        return fixture("elasticSoftmax", name, inputs, {}, y)

    return [
        one("softmax"),
        one("lazy", tau=[-1.0, -0.6]),
        one("tau_of_any_sign", H=3, tau=[-1.2, 0.0, 0.8]),
        one("chunk_with_starts", L=3, S=7, tau=[-0.9, 0.4], starts=[[1, 1, 6], [0, 4, 5]]),
    ]


def layer_fixtures():
    x, weight = normal(2, 3, 7), normal(7, deviation=0.3, mean=1.0)
    fixtures = [
        fixture("rmsNorm", "default", {"x": x, "weight": weight}, {}, rms_norm(x, weight, 1e-6)),
        fixture("rmsNorm", "large_epsilon", {"x": x, "weight": weight}, {"epsilon": 0.3}, rms_norm(x, weight, 0.3)),
    ]
    x = normal(2, 5, 3, 6)
    fixtures += [
        fixture("rope", "default", {"x": x}, {}, rope(x, 10000.0, 0)),
        fixture("rope", "offset_and_base", {"x": x}, {"base": 500, "offset": 1234}, rope(x, 500.0, 1234)),
    ]
    gate, up = normal(4, 9, deviation=3.0), normal(4, 9)
    y = gate * torch.sigmoid(gate) * up
    fixtures.append(fixture("swiglu", "default", {"gate": gate, "up": up}, {}, y))
    weight = normal(6, 5)
    ids = torch.tensor([[0, 5, 2], [5, 5, 1]], dtype=torch.int32)
    y = torch.nn.functional.embedding(ids.long(), weight)
    fixtures.append(fixture("embedding", "repeated_ids", {"weight": weight, "ids": ids}, {}, y))
    return fixtures


def matmul_fixtures():
    fixtures = []
    for transpose_a in (False, True):
        for transpose_b in (False, True):
            a = normal(2, 5, 3) if transpose_a else normal(2, 3, 5)
            b = normal(2, 4, 5) if transpose_b else normal(2, 5, 4)
            y = (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)
            options = {"transposeA": transpose_a, "transposeB": transpose_b}
            name = f"batched_{'t' if transpose_a else 'n'}{'t' if transpose_b else 'n'}"
            fixtures.append(fixture("matmul", name, {"a": a, "b": b}, options, y))
    x, weight = normal(2, 3, 5), normal(4, 5)
    options = {"transposeB": True}
    fixtures.append(fixture("matmul", "linear_layer", {"a": x, "b": weight}, options, x @ weight.mT))
    return fixtures


def cross_entropy_fixtures():
    def one(name, ignore_index, targets, deviation=2.0):
        targets = torch.tensor(targets, dtype=torch.int32)
        logits = normal(*targets.shape, 7, deviation=deviation)
        flat = logits.reshape(-1, 7)
        y = torch.nn.functional.cross_entropy(flat, targets.long().flatten(), ignore_index=ignore_index)
        lse = torch.logsumexp(logits, dim=-1)
        inputs = {"logits": logits, "targets": targets}
        return fixture("crossEntropy", name, inputs, {"ignoreIndex": ignore_index}, y, {"lse": lse})

    return [
        one("all_count", -100, [[0, 6, 3], [2, 2, 1]]),
        one("ignored_rows", -100, [[0, -100, 3], [-100, 2, -100]]),
        one("ignore_index_inside_the_vocabulary", 2, [[0, 2, 3], [2, 2, 1]]),
        one("large_logits", -100, [[4, 1]], deviation=1e3),
    ]


def adamw_fixture(name, max_norm, steps=4):
    shapes, decays = [(3, 5), (7,)], [0.1, 0.0]
    params = [torch.randn(shape).requires_grad_() for shape in shapes]
    groups = [{"params": [p], "weight_decay": d} for p, d in zip(params, decays)]
    optimizer = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    inputs = {f"param{i}": p.detach().clone() for i, p in enumerate(params)}
    outputs = {}
    for step in range(1, steps + 1):
        for i, p in enumerate(params):
            # Above the norm on some steps and below on others.
            p.grad = torch.randn_like(p) * (0.1 if step % 2 == 0 else 2.0)
            inputs[f"grad{i}_{step}"] = p.grad.clone()
        if max_norm is not None:
            torch.nn.utils.clip_grad_norm_(params, max_norm)
        optimizer.step()
    for i, p in enumerate(params):
        state = optimizer.state[p]
        outputs[f"param{i}"], outputs[f"m{i}"], outputs[f"v{i}"] = p, state["exp_avg"], state["exp_avg_sq"]
    options = {"learningRate": 0.05, "steps": steps, "maxNorm": max_norm, "weightDecay": decays}
    return {
        "op": "adamw",
        "name": name,
        "options": options,
        "inputs": {k: encode(x) for k, x in inputs.items()},
        "outputs": {k: encode(x) for k, x in outputs.items()},
    }


def sum_fixtures():
    x, z = normal(3, 4), normal(5)
    return [
        fixture("sum", "default", {"x": x}, {}, x.sum()),
        fixture("sumSquares", "two_tensors", {"x": x.detach(), "z": z.detach()}, {}, (x * x).sum().detach() + (z * z).sum().detach()),
    ]


FILES = {
    "attention": attention_fixtures,
    "elastic-softmax": elastic_fixtures,
    "layers": layer_fixtures,
    "matmul": matmul_fixtures,
    "cross-entropy": cross_entropy_fixtures,
    "adamw": lambda: [adamw_fixture("plain", None), adamw_fixture("clipped", 1.0)],
    "sums": sum_fixtures,
}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: generate.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        torch.manual_seed(2601_00919)
        lines = ",\n".join(json.dumps(f) for f in make())
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
