"""Times the peers on this GPU with PyTorch; prints one JSON object as its last line.

Softmax by scaled_dot_product_attention (flash), FlexAttention with a bias per head and distance, the naive lazy formula, a
large bf16 product (the peak that training is measured against), and, from a file that is given, the authors' kernel:
`lazy_attention(q, k, v, bias, tau)` on [batch, length, heads, headDim].
"""

import argparse
import importlib.util
import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def timed(run, repeats=11, count=10):
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / count)
    return {"medianMs": statistics.median(times), "minMs": min(times), "maxMs": max(times)}


def both(function, inputs):
    """Forward without gradient, and forward with backward."""
    gradient = torch.randn_like(inputs[0])

    def forward():
        with torch.no_grad():
            function(*inputs)

    leaves = [x.detach().requires_grad_() for x in inputs]

    def training():
        torch.autograd.grad(function(*leaves), leaves, gradient)

    return {"forward": timed(forward), "forwardBackward": timed(training)}


def naive(q, k, v, bias, tau):
    """SPEC.md "Forward", as written; tensors are [B, H, L, D]."""
    length, window = q.shape[2], bias.shape[1]
    position = torch.arange(length, device=q.device)
    distance = position[:, None] - position[None, :]
    added = torch.where(distance < window, bias[:, distance.clamp(0, window - 1)], 0.0)
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + added
    p = scores.masked_fill(distance < 0, float("-inf")).softmax(-1)
    w = torch.relu(p + tau[:, None, None] / (position + 1)[:, None]).masked_fill(distance < 0, 0)
    return w.to(v.dtype) @ v


def flex(window):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention)

    def run(q, k, v, bias):
        def score(s, b, h, i, j):
            return s + torch.where(i - j < window, bias[h, (i - j).clamp(0, window - 1)], 0.0)

        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, q.shape[2], k.shape[2])
        return compiled(q, k, v, score_mod=score, block_mask=mask)

    return run


def attempt(run):
    try:
        torch.cuda.empty_cache()
        return run()
    except Exception as error:  # a peer that is missing or runs out of memory must not hide the others
        return {"error": f"{type(error).__name__}: {str(error)[:500]}"}


def shape(B, H, L, D, authors, W=512):
    q, k, v = (torch.randn(B, H, L, D, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    bias, tau = torch.randn(H, W, device="cuda") * 0.1, -torch.ones(H, device="cuda")

    def softmax():
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return both(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), [q, k, v])

    result = {
        "shape": {"B": B, "H": H, "L": L, "D": D, "W": W},
        "sdpaFlash": attempt(softmax),
        "flexWithBias": attempt(lambda: both(flex(W), [q, k, v, bias])),
        "naiveLazy": attempt(lambda: both(naive, [q, k, v, bias, tau])),
    }
    if authors is not None:
        rows = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
        result["authors"] = attempt(lambda: both(authors.lazy_attention, [*rows, bias, tau]))
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--authors")
    path = parser.parse_args().authors
    authors = None
    if path is not None:
        spec = importlib.util.spec_from_file_location("authors", path)
        authors = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(authors)
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = timed(lambda: a @ b)
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "device": torch.cuda.get_device_name(),
                "product8192": {**product, "tflops": 2 * 8192**3 / product["medianMs"] / 1e9},
                "attention": [shape(4, 16, 4096, 64, authors), shape(4, 16, 4096, 128, authors), shape(1, 16, 16384, 64, authors)],
            }
        )
    )


if __name__ == "__main__":
    main()
