"""Generation against transformers, on the same LLaVA, side by side in one run.

    python -m benchmarks.generate [--batches 1 16] [--new=64] [--rounds=5]

makes a LLaVA of 39 M random float32 parameters, exports it (`mmjax.convert export`) and
lets both sides say so many tokens after an image and 63 words, greedily and without an
end. Each side has a process of its own, and rounds alternate; what is printed are
medians, and ratios of medians. Both sides must say the same tokens.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks import memory
from configs import benchmark_39m
from mmjax import config as config_lib

WORDS = 63  # of the prompt, after its begin and its image


class Times(NamedTuple):
    """One round of one side."""

    first: float  # seconds to the first token
    whole: float  # seconds to the last
    tokens: list[list[int]]  # of each row


class Prompts(NamedTuple):
    """The same ones for both sides."""

    ids: np.ndarray  # [rows, tokens]; the image's are the vocabulary's last
    pixels: np.ndarray  # uint8 [rows, h, w, 3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", default=None, help="JSON of what was measured")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        make(root)
        sides = {"ours": ours, "transformers": theirs}
        found = {
            batch: compare(root, sides, batch, arguments.new, arguments.rounds)
            for batch in arguments.batches
        }
    for batch, table in found.items():
        print(lines(batch, arguments.new, table))
    if arguments.out:
        pathlib.Path(arguments.out).write_text(json.dumps(found, indent=2) + "\n")


def model() -> config_lib.Model:
    """The 39 M model as LLaVA can say it: CLIP's encoder before the last layer."""
    made = benchmark_39m.get_config().model
    made.vit.class_token, made.vit.embedding_norm = True, "tokens"
    made.vit.patch_bias, made.vit.features = False, -2
    made.vit.layers += 1
    made.decoder.norm_eps = 1e-5
    return made


def make(root: pathlib.Path) -> None:
    """Our checkpoint, and what export makes of it."""
    import jax

    from mmjax import checkpoint
    from mmjax.convert import exporting
    from mmjax.models import vlm

    made = model()
    params = jax.jit(vlm.build(made).init)(jax.random.key(0))
    meta = {"config": config_lib.to_dict(config_lib.Config(model=made))}
    checkpoint.save_weights(str(root / "ours"), params, meta)
    request = exporting.Request(str(root / "ours"), root / "theirs")
    for line in exporting.run(request):
        print(line.replace(str(root), "..."), flush=True)
    count = sum(x.size for x in jax.tree.leaves(params))
    print(f"{count / 1e6:.1f} M parameters, {os.cpu_count()} cores", flush=True)


def prompts(rows: int, seed: int) -> Prompts:
    """Random words after a random image."""
    made, rng = model(), np.random.default_rng(seed)
    side, last = made.vit.image_size, made.decoder.vocab_size - 1
    images = np.full((rows, made.connector.tokens), last)
    words = rng.integers(3, last, (rows, WORDS))
    ids = np.concatenate([np.ones((rows, 1), int), images, words], axis=1)
    pixels = rng.integers(0, 256, (rows, side, side, 3), dtype=np.uint8)
    return Prompts(ids, pixels)


def compare(
    root: pathlib.Path, sides: dict[str, Any], batch: int, new: int, rounds: int
) -> dict[str, dict[str, float]]:
    """What each side takes: medians of its rounds, after one that isn't counted."""
    context, workers = multiprocessing.get_context("spawn"), {}
    for name, side in sides.items():
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(side, str(root), there))
        process.start()
        workers[name] = (process, here)
    found: dict[str, list[Times]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        said = []
        for name, (_, here) in workers.items():
            here.send((batch, new, number))
            times = here.recv()
            said.append(times.tokens)
            if number:
                found[name].append(times)
        same = np.mean(np.array(said[0]) == np.array(said[1]))
        print(f"batch {batch}, round {number}: {same:.1%} of tokens equal", flush=True)
    table = {}
    for name, (process, here) in workers.items():
        first = statistics.median(times.first for times in found[name])
        whole = statistics.median(times.whole for times in found[name])
        table[name] = {
            "tokens_per_second": batch * new / whole,
            "first_token_seconds": first,
            "seconds_per_token_after": (whole - first) / (new - 1),
            "memory": memory.pss(process.pid),
        }
        here.send(None)
        process.join()
    return table


def serve(side: Any, root: str, wires: Connection) -> None:
    """A process that answers (batch, new, seed) with its times."""
    run = side(pathlib.Path(root))
    while (asked := wires.recv()) is not None:
        batch, new, seed = asked
        wires.send(run(prompts(batch, seed), new))


def ours(root: pathlib.Path) -> Any:
    """Our side."""
    import jax

    from mmjax import checkpoint, sharding
    from mmjax.generation import layout, speaker
    from mmjax.models import vlm
    from mmjax.ops.sampling import Choice

    made = model()
    mesh = sharding.make_mesh(config_lib.Mesh(1, 1, 1), jax.devices()[:1])
    shapes = jax.eval_shape(vlm.build(made).init, jax.random.key(0))
    params = checkpoint.load_weights(str(root / "ours"), sharding.placed(shapes, mesh))
    functions = speaker.make(made, mesh)
    weights = jax.block_until_ready(functions.prepare(params))
    del params

    def run(asked: Prompts, new: int) -> Times:
        rows, length = asked.ids.shape
        batch = _batch(asked, layout.bucket(length, layout.LEAST))
        zeros = np.zeros((1, rows), np.int32)
        wanted = speaker.Asked(
            zeros + new, zeros[..., None] - 1,
            Choice(zeros.astype(np.float32), zeros, zeros + np.float32(1),
                   zeros.astype(np.uint32)),
        )  # fmt: skip
        first = []

        def watch(said: speaker.Generated) -> np.ndarray:
            first.append(time.perf_counter())
            return said.counts_ZR < 0

        begun = time.perf_counter()
        made = speaker.speak(
            functions, weights, batch, zeros + length, wanted,
            layout.bucket(new, layout.LEAST), watch,
        )  # fmt: skip
        whole = time.perf_counter() - begun
        return Times(first[0] - begun, whole, made.tokens_ZRT[0, :, :new].tolist())

    return run


def _batch(asked: Prompts, tokens: int) -> Any:
    """The prompts as rows of one group."""
    from mmjax.batch import NO_IMAGE, Batch

    made, (rows, length) = model(), asked.ids.shape
    zero = np.zeros((1, rows, tokens), np.int32)
    ids, segments, places = zero.copy(), zero.copy(), zero.copy()
    images = zero + NO_IMAGE
    ids[0, :, :length], segments[0, :, :length] = asked.ids, 1
    places[0, :, :length] = np.arange(length)
    count = made.connector.tokens
    images[0, :, 1 : 1 + count] = np.arange(rows * count).reshape(rows, count)
    return Batch(
        ids, zero, zero > 0, segments, places, images, zero, asked.pixels[None],
        np.ones((1, rows), bool), np.zeros((1, rows, 0), np.int32),
    )  # fmt: skip


def theirs(root: pathlib.Path) -> Any:
    """transformers' side."""
    try:
        import torch
        import transformers
    except ImportError as error:
        sys.exit(f"{error}: run  pip install 'mmjax[compare]'")
    llava = transformers.LlavaForConditionalGeneration.from_pretrained(
        root / "theirs", dtype=torch.float32
    ).eval()
    vit = model().vit

    def run(asked: Prompts, new: int) -> Times:
        pixels = (asked.pixels / 255 - np.array(vit.mean)) / np.array(vit.std)
        inputs = {
            "input_ids": torch.tensor(asked.ids),
            "attention_mask": torch.ones(asked.ids.shape, dtype=torch.long),
            "pixel_values": torch.tensor(
                pixels.transpose(0, 3, 1, 2), dtype=torch.float32
            ),
        }
        how: dict[str, Any] = {"do_sample": False, "eos_token_id": None}

        def say(count: int) -> tuple[float, Any]:
            begun = time.perf_counter()
            with torch.inference_mode():
                made = llava.generate(
                    **inputs, max_new_tokens=count, min_new_tokens=count, **how
                )
            return time.perf_counter() - begun, made

        first, _ = say(1)
        whole, made = say(new)
        return Times(first, whole, made[:, asked.ids.shape[1] :].tolist())

    return run


def lines(batch: int, new: int, table: dict[str, dict[str, float]]) -> str:
    """The table in words."""
    text = [f"batch {batch}, {new} new tokens after {1 + 64 + WORDS} positions"]
    for name, row in table.items():
        text.append(
            f"  {name:13} {row['tokens_per_second']:7.1f} tokens/s, first token after "
            f"{1000 * row['first_token_seconds']:.0f} ms, then "
            f"{1000 * row['seconds_per_token_after']:.1f} ms each, "
            f"{row['memory'] / 1e9:.2f} GB"
        )
    mine, other = table["ours"], table["transformers"]
    faster = mine["tokens_per_second"] / other["tokens_per_second"]
    sooner = other["first_token_seconds"] / mine["first_token_seconds"]
    text.append(f"  ours: {faster:.2f} times the tokens/s, {sooner:.2f} times as soon")
    return "\n".join(text)


if __name__ == "__main__":
    main()
