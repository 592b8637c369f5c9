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
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import torch_peer
from configs import benchmark_39m
from mmjax import config as config_lib
from mmjax import flops, optim, sharding, step
from mmjax.batch import NO_IMAGE, Batch
from mmjax.config import Config
from mmjax.models import vlm

OURS, PEERS = "mmjax", ("PyTorch eager", "PyTorch compiled")
ANSWER = "@answer "  # what a worker prints before an answer, among other output
MATMUL_SIDE = 2048


class Worker(NamedTuple):
    """A child process that steps when it is told to."""

    name: str
    process: subprocess.Popen

    def ask(self, command: str) -> Any:
        """Sends a line, returns the answer; RuntimeError where the child died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        raise RuntimeError(f"{self.name}: ended with {self.process.wait()}, see above")


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
    command = [sys.executable, "-m", "benchmarks.train_step", f"--worker={name}"]
    pipe = subprocess.PIPE
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return Worker(
        name, subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env)
    )


def measure(
    workers: list[Worker], rounds: int, steps: int
) -> tuple[dict[str, list[float]], list[float], dict[str, dict]]:
    """Seconds of every step, seconds of every matrix product, facts of every side."""
    seconds: dict[str, list[float]] = {worker.name: [] for worker in workers}
    products: list[float] = []
    for worker in workers:
        worker.ask("step")  # compiles, and has the caches full
        worker.ask("step")
    for turn in range(rounds):
        for worker in workers if turn % 2 == 0 else workers[::-1]:
            seconds[worker.name] += [worker.ask("step") for _ in range(steps)]
        products += [workers[0].ask("matmul") for _ in range(3)]
    facts = {worker.name: worker.ask("facts") for worker in workers}
    for worker in workers:
        worker.process.communicate()
    return seconds, products, facts


def report(
    seconds: dict[str, list[float]], products: list[float], facts: dict[str, dict]
) -> None:
    """Prints the table, and the ratio to the better peer."""
    config = benchmark_39m.get_config()
    lengths = [config.data.row_tokens] * config.data.rows_per_batch
    work = flops.work(config.data.rows_per_batch, lengths)
    shapes = jax.eval_shape(vlm.build(config.model).init, jax.random.key(0))
    paths = optim.flatten(shapes)
    flop = sum(flops.step(config.model, work, paths).values())
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
        take_step, parameters = make_step(config)
    else:
        take_step, parameters = torch_peer.make_step(config, "compiled" in name)
    product = make_product() if name == OURS else take_step

    def facts() -> dict:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"parameters": parameters, "memory": memory}

    commands: dict[str, Callable[[], Any]] = {
        "step": lambda: timed(take_step),
        "matmul": lambda: timed(product),
        "facts": facts,
    }
    for line in sys.stdin:
        print(ANSWER + json.dumps(commands[line.strip()]()), flush=True)


def timed(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def make_product() -> Callable[[], Any]:
    """A square float32 matrix product, compiled."""
    square = jnp.ones((MATMUL_SIDE, MATMUL_SIDE), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    product(square).block_until_ready()
    return lambda: product(square).block_until_ready()


def make_step(config: Config) -> tuple[Callable[[], float], int]:
    """A function that takes one train step and returns the loss; and parameters."""
    model = vlm.build(config.model)
    mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
    train_step = step.make_train_step(model, config, mesh)
    state = step.init_state(model, config, mesh, jax.random.key(0))
    batch = jax.device_put(make_batch(config), sharding.batch_shardings(mesh))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))

    def take_step() -> float:
        nonlocal state
        state, metrics = train_step(state, batch)
        jax.block_until_ready(state)
        tokens = metrics["loss_tokens_by_source"].sum()
        return float(metrics["loss_sum_by_source"].sum() / tokens)

    return take_step, parameters


def make_batch(config: Config) -> Batch:
    """A begin token, an image, words; the loss is on the words."""
    data, decoder, vit = config.data, config.model.decoder, config.model.vit
    rng = np.random.default_rng(0)
    shape, image = (1, data.rows_per_batch, data.row_tokens), config_lib.patches(vit)
    tokens = rng.integers(3, decoder.vocab_size - 1, shape, dtype=np.int32)
    tokens[..., 0], tokens[..., 1 : 1 + image] = 1, decoder.vocab_size - 1
    images = np.full(shape, NO_IMAGE, np.int32)
    slots = image * np.arange(data.rows_per_batch)[:, None]
    images[0, :, 1 : 1 + image] = slots + np.arange(image)
    counts = np.zeros(shape, bool)
    counts[..., image:-1] = True
    pixels = (1, data.rows_per_batch, vit.image_size, vit.image_size, 3)
    return Batch(
        tokens_ZRT=tokens,
        targets_ZRT=np.roll(tokens, -1, axis=-1),
        loss_mask_ZRT=counts,
        segments_ZRT=np.ones(shape, np.int32),
        positions_ZRT=np.zeros(shape, np.int32) + np.arange(shape[-1], dtype=np.int32),
        images_ZRT=images,
        sources_ZRT=np.zeros(shape, np.int32),
        pixels_ZChwc=rng.integers(0, 256, pixels, dtype=np.uint8),
        real_ZC=np.ones((1, data.rows_per_batch), bool),
        texts_ZCW=np.zeros((1, data.rows_per_batch, 0), np.int32),
    )


if __name__ == "__main__":
    main()
