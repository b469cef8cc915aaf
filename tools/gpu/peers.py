"""Times the peers on this GPU with PyTorch: peers.py [--authors FILE] BxHxLxD... Prints a JSON object a line, as it goes.

Softmax by scaled_dot_product_attention (flash, and cuDNN's where there is one), FlexAttention with a bias per head and distance, the naive lazy formula, a
large bf16 product (the peak that training is measured against), and, from a file that is given, the authors' kernel:
`lazy_attention(q, k, v, bias, tau)` on [batch, length, heads, headDim]. --rehearse: the same on the CPU, for a dry run.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

WINDOW = 512
REPEATS = 11
REPEAT_MS = 150  # about how long one of the repeats may take
NAIVE_LIMIT = 3e9  # pairs of positions above which the naive formula fills the memory, not the clock


def say(**entry):
    print(json.dumps(entry), flush=True)


def elapsed(run, count, device):
    """Milliseconds per call of `count` calls."""
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(count):
            run()
        return (time.perf_counter() - start) * 1000 / count
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(count):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / count


def timed(run, device):
    for _ in range(2):  # compiles, tunes and fills the allocator
        run()
    once = elapsed(run, 1, device)
    count = max(1, min(10, int(REPEAT_MS / max(once, 1e-3))))
    times = [elapsed(run, count, device) for _ in range(REPEATS if device == "cuda" else 2)]
    return {"medianMs": statistics.median(times), "minMs": min(times), "maxMs": max(times)}


def both(function, inputs, device):
    """Forward without gradient, and forward with backward. A peer without a backward still has its forward."""

    def forward():
        with torch.no_grad():
            function(*inputs)

    result = {"forward": timed(forward, device)}
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    gradient = torch.randn_like(inputs[0])

    def training():
        torch.autograd.grad(function(*leaves), leaves, gradient, allow_unused=True)

    return {**result, "forwardBackward": attempt(lambda: timed(training, device), device)}


def naive(q, k, v, bias, tau):
    """spec §Forward, as written; tensors are [B, H, L, D]."""
    length, window = q.shape[2], bias.shape[1]
    position = torch.arange(length, device=q.device)
    distance = position[:, None] - position[None, :]
    added = torch.where(distance < window, bias[:, distance.clamp(0, window - 1)], 0.0)
    scores = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + added
    p = scores.masked_fill(distance < 0, float("-inf")).softmax(-1)
    w = torch.relu(p + tau[:, None, None] / (position + 1)[:, None]).masked_fill(distance < 0, 0)
    return w.to(v.dtype) @ v


def flex(length, window, device):
    """FlexAttention with the bias of lazy attention and a plain softmax. The mask is made once, as a model would."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device=device)

    def attend(q, k, v, bias):
        def score(s, b, h, i, j):
            return s + torch.where(i - j < window, bias[h, (i - j).clamp(0, window - 1)], 0.0)

        return flex_attention(q, k, v, score_mod=score, block_mask=mask)

    return torch.compile(attend, dynamic=False)


def attempt(run, device):
    try:
        if device == "cuda":
            torch.cuda.empty_cache()
        return run()
    except Exception as error:  # a peer that is missing or runs out of memory must not hide the others
        return {"error": f"{type(error).__name__}: {str(error)[:500]}"}


def measure(B, H, L, D, authors, device):
    q, k, v = (torch.randn(B, H, L, D, device=device, dtype=torch.bfloat16) for _ in range(3))
    bias, tau = torch.randn(H, WINDOW, device=device) * 0.1, -torch.ones(H, device=device)
    say(shape={"B": B, "H": H, "L": L, "D": D, "W": WINDOW})

    def softmax(kernel):
        with sdpa_kernel(kernel):
            return both(lambda *x: F.scaled_dot_product_attention(*x, is_causal=True), [q, k, v], device)

    say(sdpaFlash=attempt(lambda: softmax(SDPBackend.FLASH_ATTENTION), device))
    if authors is not None:
        rows = [x.transpose(1, 2).contiguous() for x in (q, k, v)]

        def theirs(*inputs):
            output = authors.lazy_attention(*inputs)
            return output[0] if isinstance(output, tuple) else output

        def agreement():
            # Their kernel has to compute the same thing for its time to mean anything.
            with torch.no_grad():
                expected = naive(q[:1, :, :1024], k[:1, :, :1024], v[:1, :, :1024], bias, tau).transpose(1, 2)
                actual = theirs(*(x[:1, :1024].contiguous() for x in rows), bias, tau)
            return ((actual - expected).float().norm() / expected.float().norm()).item()

        say(authorsDifferFromNaive=attempt(agreement, device))
        say(authors=attempt(lambda: both(theirs, [*rows, bias, tau], device), device))
    if B * H * L * L < NAIVE_LIMIT:
        say(naiveLazy=attempt(lambda: both(naive, [q, k, v, bias, tau], device), device))
    say(sdpaCudnn=attempt(lambda: softmax(SDPBackend.CUDNN_ATTENTION), device))
    say(flexWithBias=attempt(lambda: both(flex(L, WINDOW, device), [q, k, v, bias], device), device))


def load(path):
    if path is None:
        return None
    spec = importlib.util.spec_from_file_location("authors", path)
    module = importlib.util.module_from_spec(spec)
    # Triton reads its kernels' source, and torch.compile looks modules up by name.
    sys.modules["authors"] = module
    spec.loader.exec_module(module)
    return module


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", nargs="+", help="BxHxLxD")
    parser.add_argument("--authors")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    device = "cpu" if options.rehearse else "cuda"
    torch.manual_seed(1)
    size = 128 if options.rehearse else 8192
    say(torch=torch.__version__, gpu=None if options.rehearse else torch.cuda.get_device_name())
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = timed(lambda: a @ b, device)
    say(product8192={**product, "size": size, "tflops": 2 * size**3 / product["medianMs"] / 1e9})
    del a, b
    authors = attempt(lambda: load(options.authors), device)
    if isinstance(authors, dict):
        say(authors=authors)
        authors = None
    for shape in options.shapes:
        measure(*(int(x) for x in shape.split("x")), authors, device)


if __name__ == "__main__":
    main()
