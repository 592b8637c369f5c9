"""One GPU: are our kernels right, and how fast is a step against PyTorch's?

    pip install 'jax[cuda12]' && pip install -e '.[compare]'
    python -m benchmarks.gpu --out=gpu.json
    python -m benchmarks.gpu --check      # the same, tiny, where there is no GPU

First each kernel against attention written out, forward and gradients, in bfloat16.
Then a step of a 1.1 B MM1 (configs/benchmark_1b.py) and of the same model in PyTorch,
one side after the other, each alone on the GPU in a process of its own.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import sys
from collections.abc import Iterator
from typing import Any

import jax

from benchmarks import gpu_kernels, our_step, torch_peer, workers
from benchmarks.workers import Worker
from configs import benchmark_1b
from mmjax import flops
from mmjax.config import Config
from mmjax.estimate import compiler_flags

OURS, PEER = "mmjax", "PyTorch compiled"
NO_GPU, WRONG = 2, 1  # exit statuses
WARM_UP = 3  # steps that compile and fill caches
GIB = 2**30


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="tiny sizes, any device")
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    config = benchmark_1b.get_config(benchmark_1b.TINY if args.check else "")
    if args.worker:
        serve(args.worker, config)
        return 0
    found = measure(config, args.check, args.steps)
    if not found:
        print("no GPU here: nothing is measured (--check runs a tiny form on a CPU)")
        return NO_GPU
    for line in lines(found):
        print(line)
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(case["correct"] for case in found["kernels"]) else WRONG


def measure(config: Config, tiny: bool, steps: int) -> dict[str, Any]:
    """All that is measured; {} where there is no GPU, and `tiny` isn't asked for."""
    ours = start(OURS, tiny)
    device = ours.ask("device")
    if device["platform"] != "gpu" and not tiny:
        ours.end()
        return {}
    say("checks the kernels")
    found = {"device": device["kind"], "kernels": ours.ask("kernels"), "notes": []}
    found["flop"] = our_step.flop(config)
    found["tokens"] = config.data.rows_per_batch * config.data.row_tokens
    found["images"] = config.data.pool_capacity
    found["sides"] = {OURS: side(ours, steps)}
    if not torch_peer.available():
        found["notes"].append("PyTorch is absent, ours ran alone")
        return found
    peer = start(PEER, tiny)
    if peer.ask("device")["platform"] != device["platform"]:
        peer.end()
        found["notes"].append("PyTorch here knows no GPU, ours ran alone")
        return found
    found["sides"][PEER] = side(peer, steps)
    return found


def start(name: str, tiny: bool) -> Worker:
    """Starts a side in a process of its own, with XLA's options for GPUs in ours."""
    arguments = ["--check"] if tiny else []
    options = compiler_flags.options("h100", "default", [])
    given = " ".join(f"--{option}={value}" for option, value in options.items())
    env = {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {given}".strip(),
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.92",
    }
    return workers.start(name, "benchmarks.gpu", arguments, env)


def side(worker: Worker, steps: int) -> dict[str, Any]:
    """Seconds of each step and facts of one side; or the error that ended it."""
    say(f"{worker.name}: compiles, and takes {WARM_UP} + {steps} steps")
    try:
        for _ in range(WARM_UP):
            worker.ask("step")
        seconds = [worker.ask("step") for _ in range(steps)]
        return {"seconds": seconds, **worker.ask("facts")}
    except RuntimeError as error:
        return {"error": str(error)}
    finally:
        worker.end()


def say(what: str) -> None:
    print(f"benchmarks.gpu: {what}", file=sys.stderr, flush=True)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The tables of what was measured."""
    yield f"{found['device']}; jax {jax.__version__}, PyTorch {torch_peer.version()}\n"
    most = gpu_kernels.TOLERANCE
    yield f"Errors as shares of the largest value, at most {most} of it:\n"
    yield "| kernel | of | forward | gradients | |"
    yield "|---|---|---|---|---|"
    for case in found["kernels"]:
        verdict = "right" if case["correct"] else "WRONG"
        yield (
            f"| {case['kernel']} | {case['use']} | {case['forward']:.4f} | "
            f"{case['gradients']:.4f} | {verdict} |"
        )
    flop = sum(found["flop"].values())
    yield f"\n{flop / 1e12:.4g} TFLOP a step; in bfloat16, float32 parameters:\n"
    heads = (
        "side", "parameters", "median s", "best s", "tokens/s", "images/s", "TFLOP/s",
        "MFU", "peak GiB",
    )  # fmt: skip
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    yield from (_row(name, each, found) for name, each in found["sides"].items())
    yield "\n| component | TFLOP | of the step's | of the MFU |"
    yield "|---|---|---|---|"
    mfu = _mfu(found["sides"][OURS], found)
    for name, part in found["flop"].items():
        of_mfu = "-" if mfu is None else f"{mfu * part / flop:.1%}"
        yield f"| {name} | {part / 1e12:.4g} | {part / flop:.1%} | {of_mfu} |"
    told = found["sides"][OURS].get("attention")
    yield from (f"\n{note}" for note in [*found["notes"], *([told] if told else [])])


def _row(name: str, each: dict[str, Any], found: dict[str, Any]) -> str:
    if "error" in each:
        return f"| {name} | {each['error']} | | | | | | | |"
    median, mfu = statistics.median(each["seconds"]), _mfu(each, found)
    rate = sum(found["flop"].values()) / median
    return (
        f"| {name} | {each['parameters'] / 1e6:.1f} M | {median:.4f} | "
        f"{min(each['seconds']):.4f} | {found['tokens'] / median:.0f} | "
        f"{found['images'] / median:.1f} | {rate / 1e12:.3g} | "
        f"{'-' if mfu is None else f'{mfu:.1%}'} | {each['memory'] / GIB:.2f} |"
    )


def _mfu(each: dict[str, Any], found: dict[str, Any]) -> float | None:
    """None of a side that failed, and on devices whose peak isn't known."""
    peak = flops.peak(found["device"])
    if "error" in each or not peak:
        return None
    return sum(found["flop"].values()) / statistics.median(each["seconds"]) / peak


def serve(name: str, config: Config) -> None:
    """Answers the parent's commands; nothing is made before the first step."""
    workers.serve(_our_commands(config) if name == OURS else _peer_commands(config))


def _our_commands(config: Config) -> dict[str, Any]:
    made: list[our_step.Ours] = []
    device = jax.devices()[0]

    def step() -> float:
        if not made:
            made.append(our_step.make_step(config))
        return workers.timed(made[0].take_step)

    def facts() -> dict[str, Any]:
        used = device.memory_stats() or {"peak_bytes_in_use": _resident()}
        return {
            "parameters": made[0].parameters,
            "attention": made[0].attention,
            "memory": used["peak_bytes_in_use"],
        }

    return {
        "device": lambda: {"platform": device.platform, "kind": device.device_kind},
        "kernels": lambda: gpu_kernels.check(device.platform == "gpu"),
        "step": step,
        "facts": facts,
    }


def _peer_commands(config: Config) -> dict[str, Any]:
    made: list[tuple] = []
    on_gpu = torch_peer.device() == "cuda"

    def step() -> float:
        if not made:
            made.append(torch_peer.make_step(config, compiled=True))
        return workers.timed(made[0][0])

    def facts() -> dict[str, Any]:
        memory = torch_peer.memory() if on_gpu else _resident()
        return {"parameters": made[0][1], "memory": memory}

    return {
        "device": lambda: {"platform": "gpu" if on_gpu else "cpu"},
        "step": step,
        "facts": facts,
    }


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
