"""Builds attention.so from the backend's sources and calls it on PyTorch's tensors.

library.py PACKAGE OUTPUT [--emulated]: PACKAGE is the folder of @lazy-attention/backend-cuda, native's lies beside it. A source is
compiled only where it, or a header, is newer than its object, so that an edit costs seconds. With --emulated the kernels
run on the host (c++), for rehearsals.
"""

import ctypes
import glob
import os
import shutil
import subprocess
import sys

KERNELS = ["attention", "attention_exact", "attention_forward", "attention_grad", "attention_grad_wide", "attention_decode"]
KERNELS += ["attention_hopper", "attention_grad_hopper"]
PATHS = ["mma", "hopper"]
SHARED = ["reduce", "elastic"]  # sums of dbias and dtau


def find(tool, *places):
    """A program in PATH or in one of the places (patterns), or None."""
    found = shutil.which(tool)
    candidates = [found] if found else []
    for place in places:
        candidates += sorted(glob.glob(os.path.join(place, tool)), reverse=True)
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def find_nvcc():
    return os.environ.get("CUDACXX") or find("nvcc", "/usr/local/cuda*/bin")


def build(package, output, emulated=False, architecture="sm_90a"):
    """Compiles what has changed and links; returns the number of files that were compiled."""
    cpp = os.path.join(package, "cpp")
    includes = ["-I" + cpp, "-I" + os.path.join(package, "..", "native", "include")]
    headers = glob.glob(os.path.join(cpp, "**", "*.h"), recursive=True)
    sources = [os.path.join(cpp, "kernels", name + ".cu") for name in KERNELS + SHARED]
    sources += [os.path.join(cpp, "device", name) for name in ("check.cpp", "tensor_map.cpp")]
    sources += [os.path.join(cpp, "library", "attention_library.cpp")]
    if emulated:
        sources += glob.glob(os.path.join(cpp, "emulation", "*.cpp"))
        compiler = [os.environ.get("CXX", "c++"), "-x", "c++", "-std=c++17", "-O2", "-fPIC", "-w", "-DLAZY_EMULATED"]
        link = [os.environ.get("CXX", "c++"), "-shared", "-pthread"]
    else:
        nvcc = find_nvcc()
        if nvcc is None:
            raise RuntimeError("nvcc was not found (CUDACXX, PATH, /usr/local/cuda*/bin)")
        compiler = [nvcc, "-x", "cu", "-std=c++17", "-O3", "-arch=" + architecture, "-lineinfo", "-Xcompiler=-fPIC"]
        compiler += ["-diag-suppress=186,177"]
        link = [nvcc, "-shared", "-arch=" + architecture]
    folder = output + ".objects"
    os.makedirs(folder, exist_ok=True)
    newest_header = max(os.path.getmtime(path) for path in headers)
    objects, waiting = [], []
    for source in sources:
        target = os.path.join(folder, os.path.basename(source) + ".o")
        objects.append(target)
        if os.path.exists(target) and os.path.getmtime(target) > max(newest_header, os.path.getmtime(source)):
            continue
        waiting.append([*compiler, *includes, "-c", source, "-o", target])
    at_once = len(os.sched_getaffinity(0))
    for first in range(0, len(waiting), at_once):
        processes = [subprocess.Popen(command) for command in waiting[first : first + at_once]]
        if any([process.wait() != 0 for process in processes]):
            raise RuntimeError("compilation failed")
    if waiting or not os.path.exists(output):
        subprocess.run([*link, "-o", output, *objects], check=True)
    return len(waiting)


class Arguments(ctypes.Structure):
    """LazyAttention of attention_library.cpp."""

    NUMBERS = ["batch", "queryLength", "keyLength", "keyCapacity", "heads", "kvHeads", "headDim", "window"]
    NUMBERS += ["dtype", "path"]
    POINTERS = ["q", "k", "v", "bias", "tau", "sink", "starts", "out", "saved", "dout", "dq", "dk", "dv"]
    POINTERS += ["dbias", "dtau", "dsink"]
    _fields_ = (
        [(name, ctypes.c_int64) for name in NUMBERS]
        + [("scale", ctypes.c_double)]
        + [(name, ctypes.c_void_p) for name in [*POINTERS, "workspace", "stream"]]
    )


class Attention:
    """One problem on q, k, v [B, L, H, D] with bias [H, W], tau [H], sink [H] and starts [B, L] (each may be None), by the kernels of
    `kernels`, one of PATHS. All memory is had at once."""

    def __init__(self, path, q, k, v, bias=None, tau=None, sink=None, starts=None, kernels="mma"):
        import torch

        self.library = ctypes.CDLL(path)
        self.library.lazy_attention_error.restype = ctypes.c_char_p
        batch, length, heads, dim = q.shape
        _, keys, kv_heads, _ = k.shape
        self.tensors = {"q": q, "k": k, "v": v, "out": torch.empty_like(q)}
        if starts is not None:
            self.tensors["starts"] = starts.int().contiguous()
        for name, x in [("bias", bias), ("tau", tau), ("sink", sink)]:
            if x is not None:
                self.tensors[name] = x.float().contiguous()
                self.tensors["d" + name] = torch.empty_like(self.tensors[name])
        for name, like in [("dq", q), ("dk", k), ("dv", v), ("dout", q)]:
            self.tensors[name] = torch.empty_like(like)
        self.arguments = Arguments(
            batch=batch, queryLength=length, keyLength=keys, keyCapacity=keys, heads=heads, kvHeads=kv_heads,
            headDim=dim, window=0 if bias is None else bias.shape[1],
            dtype={torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}[q.dtype], scale=dim**-0.5,
            path=PATHS.index(kernels),
        )  # fmt: skip
        if q.is_cuda:
            self.arguments.stream = torch.cuda.current_stream().cuda_stream
        for name, x in self.tensors.items():
            setattr(self.arguments, name, x.data_ptr())
        sizes = [ctypes.c_size_t() for _ in range(3)]
        self.call("bytes", *[ctypes.byref(size) for size in sizes])
        saved, forward, grad = [size.value for size in sizes]
        room = lambda count: torch.empty(max(count, 16), dtype=torch.uint8, device=q.device)
        self.saved, self.workspace = room(saved), room(max(forward, grad))
        self.arguments.workspace = self.workspace.data_ptr()

    def call(self, name, *more):
        function = getattr(self.library, "lazy_attention_" + name)
        if function(ctypes.byref(self.arguments), *more) != 0:
            raise RuntimeError(self.library.lazy_attention_error().decode())

    def infer(self):
        self.arguments.saved = None
        self.call("forward")
        return self.tensors["out"]

    def forward(self):
        """The forward pass with what the gradient needs."""
        self.arguments.saved = self.saved.data_ptr()
        self.call("forward")
        return self.tensors["out"]

    def backward(self):
        """After `forward`, from tensors["dout"]; returns the gradients by name."""
        self.arguments.saved = self.saved.data_ptr()
        self.call("grad")
        return {name: x for name, x in self.tensors.items() if name[0] == "d" and name != "dout"}

    def lse(self):
        """After `forward`, [B, H, L], natural logarithm. The tensor-core kernels keep it in base 2, first of what is saved."""
        import math

        import torch

        q = self.tensors["q"]
        batch, length, heads, _ = q.shape
        count = batch * heads * length
        return self.saved[: 4 * count].view(torch.float32).view(batch, heads, length) * math.log(2)


if __name__ == "__main__":
    print(build(sys.argv[1], sys.argv[2], emulated="--emulated" in sys.argv[3:]), "files compiled")
