"""run.py CALL RESULTS.json [--authors FILE.py] [--only STEP,...] [--skip STEP,...] [--budget SECONDS] [--rehearse]

Runs call A, B or C of plan.py: every step in a process group of its own with a time limit. The results are in the JSON file
after each step, so that nothing measured is lost when time runs out; a step that fails leaves its error and what it had found.
Python's standard library alone; Node lies in the kit.
"""

import argparse
import datetime
import glob
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import plan
from library import find, find_nvcc

HERE = os.path.dirname(os.path.abspath(__file__))
CUDA = os.path.join(HERE, "node_modules", "@lazy-attention", "backend-cuda")
NODE = os.path.join(HERE, "bin", "node")
TASKS = os.path.join(HERE, "tasks.mjs")
# Where containers have the driver's Vulkan description, if no loader looks there by itself.
VULKAN = ["/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json"]


def execute(command, limit, cwd=HERE):
    """What a command said within `limit` seconds, and how it failed, if it did. Ends everything that it started."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        except OSError as problem:
            return "", f"{command[0]}: {problem.strerror}"
        try:
            code = child.wait(limit)
            problem = None if code == 0 else f"ended with {code}"
        except subprocess.TimeoutExpired:
            problem = f"took more than {limit:.0f} s"
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        said.seek(0)
        return said.read(), problem


def findings(text):
    """Every line that is a JSON object, merged; one level deep, since a name may be said twice."""
    entry = {}
    for line in text.split("\n"):
        if not line.startswith("{"):
            continue
        try:
            entry.update(json.loads(line))
        except ValueError:
            pass  # cut off by the time limit
    return entry


def outcome(said, problem):
    entry = findings(said)
    if problem is None:
        return {"ok": True, **entry}
    return {**entry, "ok": False, "error": f"{problem}: {said[-3000:]}"}


class Call:
    def __init__(self, options):
        self.options = options
        self.python = os.environ.get("PYTHON", sys.executable)
        # The library that was packed, if there is one; a copy, since the kit may be read-only.
        self.library = os.path.join(tempfile.gettempdir(), "lazy-attention.so")

    # ---- steps of their own ----

    def machine(self, _limit):
        query = "--query-gpu=name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit"
        entry = {"python": platform.python_version()}
        for name, command, line in [
            ("gpu", ["nvidia-smi", query, "--format=csv,noheader"], 0),
            ("nvcc", [find_nvcc() or "nvcc", "--version"], -1),
            ("cmake", ["cmake", "--version"], 0),
            ("node", [NODE, "--version"], 0),
            ("torch", [self.python, "-c", "import torch; print(torch.__version__, torch.version.cuda)"], 0),
            ("triton", [self.python, "-c", "import triton; print(triton.__version__)"], 0),
        ]:
            said, problem = execute(command, 10)
            lines = said.strip().split("\n")
            entry[name] = lines[line] if problem is None else f"{problem}: {lines[-1][:200]}"
        for tool in ("ncu", "compute-sanitizer"):
            entry[tool] = find_tool(tool) or "not found"
        return {"ok": True, **entry}

    def run_library(self, limit):
        """The packed attention.so where it is no older than the sources and loads; else one that is built here."""
        packed = os.path.join(HERE, "attention.so")
        sources = glob.glob(os.path.join(CUDA, "cpp", "**", "*.*"), recursive=True)
        fresh = os.path.exists(packed) and all(os.path.getmtime(path) <= os.path.getmtime(packed) + 1 for path in sources)
        if fresh:
            shutil.copy(packed, self.library)
            said, problem = execute([self.python, "-c", f"import ctypes; ctypes.CDLL({self.library!r})"], limit / 3)
            if problem is None:
                return {"ok": True, "from": "the kit"}
        emulated = ["--emulated"] if self.options.rehearse else []
        command = [self.python, os.path.join(HERE, "library.py"), CUDA, self.library, *emulated]
        return {**outcome(*execute(command, limit * 2 / 3 if fresh else limit)), "from": "a build here"}

    def build(self, limit):
        return outcome(*execute([NODE, os.path.join(CUDA, "scripts", "build.mjs"), "--architectures=native"], limit, CUDA))

    def binary(self, limit):
        """The addon that was packed, where it works here; else one that is built here."""
        packed = self.node(["probe", {}], limit / 4)
        if packed["ok"]:
            return {**packed, "from": "the kit"}
        built = self.build(limit * 2 / 3)
        if not built["ok"]:
            return {**built, "packed": packed["error"]}
        return {**self.node(["probe", {}], limit / 12), "from": "a build here", "packed": packed["error"]}

    # ---- kinds of steps ----

    def node(self, task, limit, under=()):
        return outcome(*execute([*under, NODE, TASKS, task[0], json.dumps(task[1])], limit))

    def script(self, name, arguments, limit, under=()):
        extra = ["--rehearse"] if self.options.rehearse else []
        if self.options.authors:
            extra += ["--authors", os.path.abspath(self.options.authors)]
        if name == "harness.py":
            extra += ["--library", self.library]
        return outcome(*execute([*under, self.python, os.path.join(HERE, name), *arguments, *extra], limit))

    def tool(self, step):
        """The command that a step runs under."""
        path = find_tool(program_of(step))
        if step["tool"] == "ncu":
            metrics = ["SpeedOfLight", "LaunchStats", "Occupancy", "SchedulerStats", "WarpStateStats", "InstructionStats"]
            sections = [word for name in metrics for word in ("--section", name)]
            which = ["--kernel-name", "regex:forwardKernel|gradKernel|deltaKernel", "--clock-control", "none"]
            return path and [path, *which, *sections]
        return path and [path, "--tool", step["tool"], "--error-exitcode", "9", "--target-processes", "all"]

    def perform(self, step, limit):
        if "run" in step:
            return getattr(self, {"library": "run_library"}.get(step["run"], step["run"]))(limit)
        under = []
        if "tool" in step:
            under = self.tool(step)
            if not under:
                return {"ok": False, "error": f"{program_of(step)} was not found (PATH, /usr/local/cuda*, /opt/nvidia)"}
        if "node" in step:
            return self.node(step["node"], limit, under)
        if "peers" in step:
            return self.script("peers.py", step["peers"], limit)
        if step.get("tool") != "ncu":
            return self.script("harness.py", step["harness"], limit, under)
        # Its report is text: kept whole, beside the results.
        report = os.path.splitext(self.options.results)[0] + "-ncu.txt"
        entry = self.script("harness.py", step["harness"], limit, [*under, "--log-file", report])
        return {**entry, "report": os.path.basename(report)}


def program_of(step):
    return "ncu" if step["tool"] == "ncu" else "compute-sanitizer"


def find_tool(name):
    return find(name, "/usr/local/cuda*/bin", "/usr/local/cuda*/compute-sanitizer", "/opt/nvidia/nsight-compute/*")


def summarise(steps):
    """Ours over each peer: below 1 is faster. What is missing is left out."""
    summary = {}
    for which in ("64", "128", "long"):
        step = steps.get(f"time {which}", {})
        for direction in ("forward", "forwardBackward"):
            median = lambda name: step.get(name, {}).get(direction, {}).get("medianMs")
            for peer in ("flash", "cudnn", "flexWithBias", "authors", "ownSoftmax"):
                if median("lazy") and median(peer):
                    summary[f"{which} {direction} over {peer}"] = median("lazy") / median(peer)
    hopper = steps.get("hopper time 64", {})
    for direction in ("forward", "forwardBackward"):
        times = [hopper.get(name, {}).get(direction, {}).get("medianMs") for name in ("hopper", "mma", "flash")]
        for peer, time_of_peer in zip(("mma", "flash"), times[1:]):
            if times[0] and time_of_peer:
                summary[f"64 {direction}, hopper over {peer}"] = times[0] / time_of_peer
    training, product = steps.get("train 340m", {}).get("tflops"), steps.get("peers 64", {}).get("product8192", {})
    if training and product.get("tflops"):
        summary["training, share of the product's rate"] = training / product["tflops"]
    decode = steps.get("decode", {}).get("decode")
    if decode:
        summary["decoding over its traffic's time"] = decode["medianMs"] / decode["trafficMs"]
    for batch, timed in steps.get("generate 340m", {}).items():
        if batch.startswith("batch ") and timed["trafficMs"]:
            summary[f"generation over its traffic's time, {batch}"] = timed["medianMs"] / timed["trafficMs"]
    return summary


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("call", choices=sorted(plan.CALLS))
    parser.add_argument("results")
    parser.add_argument("--authors")
    parser.add_argument("--only", default="")
    parser.add_argument("--skip", default="")
    parser.add_argument("--budget", type=float, default=plan.BUDGET)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    os.environ["PYTHONUNBUFFERED"] = "1"
    if options.rehearse:
        os.environ["LAZY_ATTENTION_CUDA_DEVICE"] = "emulated"
    description = next((path for path in VULKAN if os.path.exists(path)), None)
    if description:
        os.environ.setdefault("VK_DRIVER_FILES", description)
    only, skip = ([name for name in text.split(",") if name] for text in (options.only, options.skip))
    results = {"call": options.call, "started": datetime.datetime.now().isoformat(), "rehearsal": options.rehearse}
    results.update(summary={}, steps={})
    call = Call(options)
    for planned in plan.CALLS[options.call]:
        name = planned["name"]
        if name in skip or (only and name not in only):
            continue
        step, start = plan.rehearsal(planned) if options.rehearse else planned, time.monotonic()
        limit = min(step["limit"], options.budget - (start - began))
        entry = call.perform(step, limit) if limit >= 5 else {"ok": False, "error": "no time left"}
        entry["seconds"] = time.monotonic() - start
        results["steps"][name] = entry
        results["summary"] = summarise(results["steps"])
        with open(options.results + ".new", "w") as file:
            json.dump(results, file, indent=2)
        os.replace(options.results + ".new", options.results)
        verdict = "ok    " if entry["ok"] else "FAILED"
        print(f"{verdict} {name} ({entry['seconds']:.1f} s) {entry.get('error', '')[:600]}", flush=True)
    print(json.dumps(results["summary"], indent=2))
    sys.exit(0 if all(entry["ok"] for entry in results["steps"].values()) else 1)


if __name__ == "__main__":
    main()
