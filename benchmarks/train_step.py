"""How fast a training step is, against PyTorch's, measured in turn in the same run.

    pip install -e '.[compare]'
    python -m benchmarks.train_step            # ours, PyTorch eager and torch.compile
    python -m benchmarks.train_step --short    # ours alone, one step

Each side lives in a process of its own, so that neither library sees the other's
threads, and waits while the others take their steps: a round is a few steps of each and
a float32 matrix product, and other work on the machine meets all alike. All have the
same 39 M-parameter model, batch and optimizer (configs/benchmark_39m.py), in float32.
"""

import argparse
import os
import resource
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import our_step, torch_peer, workers
from benchmarks.workers import Worker
from configs import benchmark_39m

OURS, PEERS = "mmjax", ("PyTorch eager", "PyTorch compiled")
MATMUL_SIDE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="ours alone, one step")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=2, help="of each side, in a round")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve(args.worker)
        return
    names = [OURS] if args.short else [OURS, *PEERS]
    if not args.short and not torch_peer.available():
        names = [OURS]
        print("PyTorch is absent, ours runs alone: pip install -e '.[compare]'")
    rounds, steps = (1, 1) if args.short else (args.rounds, args.steps)
    report(*measure([start(name) for name in names], rounds, steps))


def start(name: str) -> Worker:
    """Starts a side in a process of its own."""
    return workers.start(name, "benchmarks.train_step", [], {"JAX_PLATFORMS": "cpu"})


def measure(
    sides: list[Worker], rounds: int, steps: int
) -> tuple[dict[str, list[float]], list[float], dict[str, dict]]:
    """Seconds of every step, seconds of every matrix product, facts of every side."""
    seconds: dict[str, list[float]] = {worker.name: [] for worker in sides}
    products: list[float] = []
    for worker in sides:
        worker.ask("step")  # compiles, and has the caches full
        worker.ask("step")
    for turn in range(rounds):
        for worker in sides if turn % 2 == 0 else sides[::-1]:
            seconds[worker.name] += [worker.ask("step") for _ in range(steps)]
        products += [sides[0].ask("matmul") for _ in range(3)]
    facts = {worker.name: worker.ask("facts") for worker in sides}
    for worker in sides:
        worker.end()
    return seconds, products, facts


def report(
    seconds: dict[str, list[float]], products: list[float], facts: dict[str, dict]
) -> None:
    """Prints the table, and the ratio to the better peer."""
    flop = sum(our_step.flop(benchmark_39m.get_config()).values())
    peak = 2 * MATMUL_SIDE**3 / min(products)
    print(f"{flop / 1e9:.0f} GFLOP a step; {os.cpu_count()} cores, matrix products of")
    print(
        f"{MATMUL_SIDE} x {MATMUL_SIDE} at {peak / 1e9:.0f} GFLOP/s (best, float32)\n"
    )
    print("| side | parameters | median s | best s | GFLOP/s | of matmul | peak GB |")
    print("|---|---|---|---|---|---|---|")
    for name, times in seconds.items():
        median, rate = statistics.median(times), flop / statistics.median(times)
        print(
            f"| {name} | {facts[name]['parameters'] / 1e6:.1f} M | {median:.2f} | "
            f"{min(times):.2f} | {rate / 1e9:.0f} | {rate / peak:.0%} | "
            f"{facts[name]['memory'] / 1e9:.1f} |"
        )
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    peers = {name: median for name, median in medians.items() if name != OURS}
    if peers:
        best = min(peers, key=lambda name: peers[name])
        ratio, best_ratio = (
            medians[OURS] / peers[best],
            min(seconds[OURS]) / min(min(seconds[name]) for name in peers),
        )
        print(f"\n{OURS} takes {ratio:.2f} times as long as {best} (medians);")
        print(f"best step against best step, {best_ratio:.2f} times")


def serve(name: str) -> None:
    """Answers the parent's commands until it closes the pipe."""
    config = benchmark_39m.get_config()
    if name == OURS:
        take_step, parameters, _ = our_step.make_step(config)
    else:
        take_step, parameters = torch_peer.make_step(config, "compiled" in name)
    product = make_product() if name == OURS else take_step

    def facts() -> dict:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"parameters": parameters, "memory": memory}

    workers.serve(
        {
            "step": lambda: workers.timed(take_step),
            "matmul": lambda: workers.timed(product),
            "facts": facts,
        }
    )


def make_product() -> Callable[[], Any]:
    """A square float32 matrix product, compiled."""
    square = jnp.ones((MATMUL_SIDE, MATMUL_SIDE), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    product(square).block_until_ready()
    return lambda: product(square).block_until_ready()


if __name__ == "__main__":
    main()
