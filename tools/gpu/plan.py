"""What runs on the GPU machine: three calls of at most 9.5 minutes, each worth something by itself, what is worth most first.

A step has a name, a limit in seconds, and one of: node (a task of tasks.mjs and its argument), harness (arguments of harness.py),
peers (arguments of peers.py), or a function of run.py by its name. `tool`: it runs under compute-sanitizer's tool, or ncu.
"""

BUDGET = 565

LAYER, WIDE, LONG = "4x16x4096x64", "4x16x4096x128", "1x16x16384x64"
# Cases that a sanitizer gets through in a minute; every family of kernels.
WATCHED = "|".join(
    [
        "^(attention|attentionGrad) (bf16 head_(64|128|256)_plain|f32 exact_head_64)",
        "(bf16|f32) (left_padding|decode_)",
        "^(matmul|rmsNorm|crossEntropy|embedding)(Grad)? (bf16|f32) random_shapes",
    ]
)


def watched(tool, limit):
    return {"name": tool, "limit": limit, "tool": tool, "node": ["conformance", {"size": "small", "only": WATCHED}]}


CALLS = {
    # Do the attention kernels run, are they right, and how fast are they?
    "A": [
        {"name": "machine", "limit": 20, "run": "machine"},
        {"name": "library", "limit": 80, "run": "library"},
        {"name": "error 64", "limit": 30, "harness": ["error", LAYER]},
        {"name": "time 64", "limit": 85, "harness": ["time", LAYER]},
        {"name": "repeat 64", "limit": 15, "harness": ["repeat", LAYER]},
        {"name": "binary", "limit": 25, "node": ["probe", {}]},
        {"name": "conformance small", "limit": 50, "node": ["conformance", {"size": "small"}]},
        # The kernels for sm_90a, after the others: whatever these do, those are measured.
        {"name": "hopper small", "limit": 20, "harness": ["small", "1x1x64x64", "--kernels", "hopper"]},
        {"name": "hopper small 128", "limit": 15, "harness": ["small", "1x1x64x128", "--kernels", "hopper"]},
        {"name": "hopper error 64", "limit": 25, "harness": ["error", LAYER, "--kernels", "hopper"]},
        {"name": "hopper time 64", "limit": 25, "harness": ["time", LAYER, "--kernels", "hopper"]},
        {"name": "hopper repeat 64", "limit": 15, "harness": ["repeat", LAYER, "--kernels", "hopper"]},
        {"name": "error 128", "limit": 30, "harness": ["error", WIDE]},
        {"name": "time 128", "limit": 45, "harness": ["time", WIDE]},
        {"name": "ncu", "limit": 40, "tool": "ncu", "harness": ["once", LAYER]},
        {"name": "memcheck", "limit": 30, "tool": "memcheck", "harness": ["once", "1x2x512x64"]},
    ],
    # How fast is the rest?
    "B": [
        {"name": "machine", "limit": 15, "run": "machine"},
        {"name": "binary", "limit": 50, "run": "binary"},
        {"name": "library", "limit": 50, "run": "library"},
        {"name": "products", "limit": 40, "node": ["products", {"size": 8192}]},
        {
            "name": "train 340m",
            "limit": 110,
            "node": ["train", {"preset": "340m", "batch": 8, "length": 2048, "dtype": "bf16"}],
        },
        {
            "name": "generate 340m",
            "limit": 40,
            "node": ["generate", {"preset": "340m", "batches": [1, 8], "length": 512, "tokens": 256, "dtype": "bf16"}],
        },
        {"name": "decode", "limit": 25, "harness": ["decode", "8x16x8192x64"]},
        {"name": "time long", "limit": 85, "harness": ["time", LONG]},
        {"name": "peers 64", "limit": 75, "peers": [LAYER]},
        {"name": "peers 128", "limit": 75, "peers": [WIDE]},
    ],
    # Is all of it right?
    "C": [
        {"name": "machine", "limit": 15, "run": "machine"},
        {"name": "binary", "limit": 60, "run": "binary"},
        {"name": "conformance", "limit": 130, "node": ["conformance", {"size": "full"}]},
        {"name": "pico", "limit": 40, "node": ["pico", {"steps": 50}]},
        watched("racecheck", 60),
        watched("synccheck", 45),
        watched("initcheck", 45),
        {"name": "webgpu", "limit": 50, "node": ["webgpu", {"B": 1, "H": 16, "L": 2048, "D": 64, "W": 512}]},
        {"name": "source build", "limit": 120, "run": "build"},
    ],
}


def rehearsal(step):
    """The same step in seconds on the emulated device: finds out whether the kit would run, and measures nothing."""
    small = dict(step)
    if "harness" in step:
        dim = step["harness"][1].split("x")[3]
        small["harness"] = [step["harness"][0], "1x1x64x" + dim, *step["harness"][2:]]
    if "peers" in step:
        small["peers"] = ["1x2x64x16"]
    if "node" in step:
        task, argument = step["node"]
        tiny = {"B": 1, "H": 1, "L": 32, "D": argument.get("D", 64), "W": 16, "repeats": 1, "count": 1}
        small["node"] = {
            "conformance": [task, {"size": "small", "only": "^attention(Grad)? (bf16|f32) left_padding"}],
            "products": [task, {"size": 32, "repeats": 1, "count": 1}],
            "train": [task, {**argument, "preset": "pico", "batch": 1, "length": 16, "steps": 1}],
            "generate": [task, {**argument, "preset": "pico", "batches": [1], "length": 4, "tokens": 3}],
            "pico": [task, {"steps": 2}],
            "webgpu": [task, tiny],
            "probe": [task, {}],
        }[task]
    return small
