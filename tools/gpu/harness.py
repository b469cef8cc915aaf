"""The attention kernels without Node: harness.py COMMAND BxHxLxD [--library PATH] [--kernels mma|hopper] [--authors FILE] [--rehearse].
JSON lines. --kernels hopper: those for sm_90a, where they take the problem.

small: small problems with documents, sinks, caches and grouped heads, with the shape's head size, against float64. error: against chunked float64, output, lse and all gradients. time: one timer for ours, PyTorch's flash and cuDNN, FlexAttention
with a bias and the authors' kernel, in turns. repeat: 20 gradients, compared bit by bit. once: every kernel once, for ncu and
compute-sanitizer. decode: one new token on a long cache. --rehearse: the emulated library on the CPU, figures mean nothing.
"""

import argparse
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import library
import peers
from peers import attempt, say

ROUNDS = 11


class Problem:
    def __init__(self, shape, options, keys=None):
        self.device = "cpu" if options.rehearse else "cuda"
        self.B, self.H, self.L, self.D = shape
        self.S = keys or self.L
        self.W = min(512, self.S)
        torch.manual_seed(1)
        normal = lambda length: torch.randn(self.B, length, self.H, self.D, device=self.device, dtype=torch.bfloat16)
        self.q, self.dout, self.k, self.v = normal(self.L), normal(self.L), normal(self.S), normal(self.S)
        self.bias = torch.randn(self.H, self.W, device=self.device) * 0.5
        self.tau = -torch.ones(self.H, device=self.device)
        self.path, self.kernels = options.library, options.kernels

    def ours(self, bias=True, tau=True, kernels=None):
        learned = (self.bias if bias else None, self.tau if tau else None)
        attention = library.Attention(self.path, self.q, self.k, self.v, *learned, kernels=kernels or self.kernels)
        attention.tensors["dout"].copy_(self.dout)
        return attention


def reference(q, k, v, bias, tau, dout, sink=None, starts=None):
    """spec §Forward and §Backward for one head in float64: q and dout [L, D], k and v [S, D], starts [L]."""
    (length, dim), keys = q.shape, len(k)
    position = torch.arange(keys - length, keys, device=q.device)
    starts = torch.zeros_like(position) if starts is None else starts
    distance = position[:, None] - torch.arange(keys, device=q.device)[None, :]
    attended = (distance >= 0) & (distance <= (position - starts)[:, None])
    near = attended & (distance < len(bias))
    scale, n = dim**-0.5, (position - starts + 1).double()[:, None]
    s = q @ k.T * scale
    s[near] += bias[distance[near]]
    s.masked_fill_(~attended, float("-inf"))
    lse = s.logsumexp(-1)
    if sink is not None:
        lse = torch.logaddexp(lse, sink)
    p = (s - lse[:, None]).exp()
    w = (p + tau / n).clamp_min(0).masked_fill(~attended, 0)
    active = w > 0
    g = dout @ v.T * active
    delta = (p * g).sum(-1, keepdim=True)
    ds = p * (g - delta)
    dbias = torch.zeros_like(bias).index_add_(0, distance[near], ds[near])
    return {
        "out": w @ v, "lse": lse, "dq": scale * ds @ k, "dk": scale * ds.T @ q, "dv": w.T @ dout, "dbias": dbias,
        "dtau": (g / n).sum(), "dsink": None if sink is None else -((sink - lse).exp()[:, None] * delta).sum(),
    }  # fmt: skip


# B, H, Hkv, L, S, W, tau, whether there are documents, a sink: beyond, at and before the ends of tiles.
SMALL = [
    (1, 2, 2, 128, 128, 64, -1.0, False, False),
    (2, 4, 2, 300, 300, 40, -1.0, True, False),
    (1, 2, 1, 129, 513, 512, -0.8, False, True),
    (1, 2, 2, 255, 383, 1, 0.5, True, True),
    (1, 1, 1, 65, 65, 20, None, False, True),
    (1, 1, 1, 257, 257, 7808, -1.0, False, False),  # the widest window that Hopper's kernels take
    (1, 1, 1, 257, 257, 9000, -1.0, False, False),
]


def small(problem, options):
    """Every gradient of every problem of SMALL; the first alone in a rehearsal."""
    device, dim, worst = problem.device, problem.D, {}
    for B, H, kv, L, S, W, tau, documents, sinks in SMALL[:1] if options.rehearse else SMALL:
        for dtype in (torch.bfloat16, torch.float16):
            torch.manual_seed(7)
            normal = lambda length, heads: torch.randn(B, length, heads, dim, device=device, dtype=dtype)
            q, dout, k, v = normal(L, H), normal(L, H), normal(S, kv), normal(S, kv)
            bias = torch.randn(H, W, device=device) * 0.5
            taus = None if tau is None else torch.full((H,), tau, device=device)
            sink = torch.linspace(-1, 1, H, device=device) if sinks else None
            position = torch.arange(S - L, S, device=device)
            starts = ((position - 20) // 90 * 90).clamp_min(0).expand(B, L) if documents else None
            ours = library.Attention(problem.path, q, k, v, bias, taus, sink, starts, kernels=problem.kernels)
            ours.tensors["dout"].copy_(dout)
            got = {"inference": ours.infer().clone(), "out": ours.forward(), "lse": ours.lse(), **ours.backward()}
            want = {name: torch.zeros_like(x, dtype=torch.float64) for name, x in got.items()}
            for b in range(B):
                for h in range(H):
                    g = h // (H // kv)
                    rows = [x.double() for x in (q[b, :, h], k[b, :, g], v[b, :, g], bias[h])]
                    one = reference(
                        *rows, 0.0 if taus is None else taus[h].double(), dout[b, :, h].double(),
                        None if sink is None else sink[h].double(), None if starts is None else starts[b],
                    )  # fmt: skip
                    for name in ("out", "inference", "dq"):
                        want[name][b, :, h] = one["out" if name == "inference" else name]
                    want["lse"][b, h] = one["lse"]
                    for name in ("dk", "dv"):
                        want[name][b, :, g] += one[name]
                    for name in ("dbias", "dtau", "dsink"):
                        if name in want:
                            want[name][h] += one[name]
            for name, x in got.items():
                off = ((x.double() - want[name]).norm() / want[name].norm().clamp_min(1e-300)).item()
                worst[name] = max(worst.get(name, 0.0), float("inf") if off != off else off)
    say(kernels=problem.kernels, relativeError=worst)
    judge(worst)


def judge(errors):
    wrong = {name: x for name, x in errors.items() if not x <= (1e-2 if name in ("out", "inference", "lse") else 2e-2)}
    if wrong:
        raise SystemExit(f"too far from float64: {wrong}")


def error(problem, _options):
    ours = problem.ours()
    inference = ours.infer().clone()
    got = {"out": ours.forward(), "lse": ours.lse(), **ours.backward(), "inference": inference}
    squares = {name: [0.0, 0.0] for name in got}
    for b in range(problem.B):
        dbias, dtau = [], []
        for h in range(problem.H):
            rows = [x[b, :, h].double() for x in (problem.q, problem.k, problem.v)]
            want = reference(*rows, problem.bias[h].double(), problem.tau[h].double(), problem.dout[b, :, h].double())
            want["inference"] = want["out"]
            for name in got:
                if name in ("dbias", "dtau"):
                    continue
                have = got[name][b, h] if name == "lse" else got[name][b, :, h]
                squares[name][0] += ((have.double() - want[name]) ** 2).sum().item()
                squares[name][1] += (want[name] ** 2).sum().item()
            dbias.append(want["dbias"])
            dtau.append(want["dtau"])
        total = (torch.stack(dbias), torch.stack(dtau))
        sums = total if b == 0 else (sums[0] + total[0], sums[1] + total[1])
    for name, want in zip(("dbias", "dtau"), sums):
        squares[name] = [((got[name].double() - want) ** 2).sum().item(), (want**2).sum().item()]
    errors = {name: (a / max(b, 1e-300)) ** 0.5 for name, (a, b) in squares.items()}
    say(kernels=problem.kernels, relativeError=errors)
    judge(errors)


def repeat(problem, _options):
    ours = problem.ours()
    ours.forward()
    first = {name: x.clone() for name, x in ours.backward().items()}
    count = 3 if problem.device == "cpu" else 20
    for i in range(count):
        ours.forward()
        differing = [name for name, x in ours.backward().items() if not torch.equal(x.view(torch.uint8), first[name].view(torch.uint8))]
        if differing:
            raise SystemExit(f"gradient {i} differs in {differing}")
    say(identicalGradients=count)


def competitors(problem, options):
    """By name, the forward pass and the forward pass with the gradient."""

    def own(ours):
        return lambda: ours.infer(), lambda: (ours.forward(), ours.backward())

    def torches(function, inputs):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        gradient = torch.randn_like(inputs[0])

        def forward():
            with torch.no_grad():
                function(*inputs)

        def both():
            torch.autograd.grad(function(*leaves), leaves, gradient, allow_unused=True)

        return forward, both

    rows = [problem.q, problem.k, problem.v]
    heads = [x.transpose(1, 2).contiguous() for x in rows]

    def softmax(kernel):
        def attend(*x):
            with sdpa_kernel(kernel):
                return F.scaled_dot_product_attention(*x, is_causal=True)

        return torches(attend, heads)

    def theirs():
        module = peers.load(options.authors)
        attend = lambda *x: (lambda y: y[0] if isinstance(y, tuple) else y)(module.lazy_attention(*x))
        return torches(attend, [*rows, problem.bias, problem.tau])

    peers_of = {"flash": lambda: softmax(SDPBackend.MATH if options.rehearse else SDPBackend.FLASH_ATTENTION)}
    if problem.kernels == "hopper":  # beside the kernels that were timed with the other peers
        peers_of["mma"] = lambda: own(problem.ours(kernels="mma"))
        peers_of["hopper"] = lambda: own(problem.ours())
        peers_of["hopperSoftmax"] = lambda: own(problem.ours(bias=False, tau=False))
    else:
        peers_of["lazy"] = lambda: own(problem.ours())
        peers_of["ownSoftmax"] = lambda: own(problem.ours(bias=False, tau=False))
        peers_of["cudnn"] = lambda: softmax(SDPBackend.MATH if options.rehearse else SDPBackend.CUDNN_ATTENTION)
        if not options.rehearse:
            flex = lambda: peers.flex(problem.L, problem.W, problem.device)  # fails alone, where it fails
            peers_of["flexWithBias"] = lambda: torches(flex(), [*heads, problem.bias])
    if options.authors:
        peers_of["authors"] = theirs
    return peers_of


def time(problem, options):
    """In turns, so that a clock that changes changes it for all. A peer that fails is reported and left out."""
    running, times = {}, {}
    for name, make in competitors(problem, options).items():

        def prepare():
            pair = make()
            for run in pair:
                run()  # compiles, and fills the allocator
            return pair

        pair = attempt(prepare, problem.device)
        if isinstance(pair, dict):
            say(**{name: pair})
        else:
            running[name] = pair
    rounds = 2 if options.rehearse else ROUNDS
    for i in range(rounds):
        for name, pair in running.items():
            for direction, run in zip(("forward", "forwardBackward"), pair):
                count = 1 if options.rehearse else 5
                times.setdefault((name, direction), []).append(peers.elapsed(run, count, problem.device))
        if i in (2, rounds - 1):  # so that something is there should the time run out
            for name in running:
                say(**{name: {
                    direction: {"medianMs": statistics.median(x), "minMs": min(x), "maxMs": max(x), "rounds": len(x)}
                    for (whose, direction), x in times.items() if whose == name
                }})  # fmt: skip


def once(problem, _options):
    ours = problem.ours()
    ours.infer()
    ours.forward()
    ours.backward()
    if problem.device == "cuda":
        torch.cuda.synchronize()
    finite = all(bool(torch.isfinite(x.float()).all()) for x in ours.backward().values())
    say(finite=finite)


def decode(problem, options):
    """L = 1 on a cache of L keys: time, and the time that reading k and v would take at 3.35 TB/s."""
    keys = problem.L
    one = Problem((problem.B, problem.H, 1, problem.D), options, keys=keys)
    ours = one.ours()
    ours.infer()
    times = [peers.elapsed(ours.infer, 1 if options.rehearse else 50, one.device) for _ in range(3 if options.rehearse else 9)]
    bytes_read = 2 * one.k.numel() * 2
    say(decode={"keys": keys, "medianMs": statistics.median(times), "trafficMs": bytes_read / 3.35e12 * 1e3})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["small", "error", "time", "repeat", "once", "decode"])
    parser.add_argument("shape", help="BxHxLxD")
    parser.add_argument("--library", required=True)
    parser.add_argument("--kernels", choices=library.PATHS, default="mma")
    parser.add_argument("--authors")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    if options.command == "decode" and options.kernels != "mma":
        parser.error("decode has no kernels of its own for sm_90a; leave --kernels out")
    problem = Problem([int(x) for x in options.shape.split("x")], options)
    globals()[options.command](problem, options)


if __name__ == "__main__":
    main()
