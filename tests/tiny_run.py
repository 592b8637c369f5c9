"""A run small enough for tests: a tiny sample world and a config that trains on it."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from data_pipelines.prepare import sample_world
from mmjax import config, metrics, train
from mmjax.config import Config

CLOCKED = ("seconds_per_step", "data_wait_share")
STEPS = 6
ROWS = 8  # of a batch


def spec() -> config.SampleWorld:
    """A sample world that is made in a second."""
    return config.SampleWorld(
        enabled=True, captions=80, interleaved=40, texts=40, heldout=8, questions=2,
        image_size=16, vocab_size=400,
    )  # fmt: skip


def make_world(root: pathlib.Path) -> pathlib.Path:
    """The folder, with a tiny sample world in it."""
    sample_world.ensure(root, spec(), progress=False)
    return root


def records(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a run without what a clock decides."""
    return [
        {
            name: value
            for name, value in line.items()
            if name not in CLOCKED and not name.endswith("_per_second")
        }
        for line in metrics.read_lines(workdir / "metrics.jsonl")
    ]


@contextlib.contextmanager
def with_step(made: Callable[[Any], Any]) -> Iterator[None]:
    """Within it, the step of runs is what `made` makes of the compiled one."""
    original = train.compile_step
    train.compile_step = lambda *arguments: made(original(*arguments))
    try:
        yield
    finally:
        train.compile_step = original


def make_config(root, **changes) -> Config:
    """A run of 6 steps of 8 rows on 8 devices; log lines of 2 steps."""
    made = Config(
        steps=STEPS,
        model=config.Model(
            vit=config.ViT(
                image_size=16, patch_size=8, width=16, layers=1, heads=2, mlp_width=32,
                remat="none",
            ),
            connector=config.Connector(tokens=4, heads=2),
            decoder=config.Decoder(
                vocab_size=512, width=16, layers=1, heads=2, kv_heads=2, head_size=8,
                mlp_width=32, remat="none",
            ),
            dtype="float32", attention_block=32, loss_chunk=32,
        ),
        data=config.Data(
            root=str(root), sample_world=spec(), row_tokens=64, rows_per_batch=ROWS,
            rows_per_pool=8, pool_multiple=8, threads=1, block_batches=4,
        ),
        optim=config.Optim(peak_lr=1e-2, warmup_steps=1),
        mesh=config.Mesh(1, 8, 1),
        checkpoint=config.Checkpoint(every=4, asynchronous=False),
        log=config.Log(every=2, tensorboard=False),
        evaluation=config.Evaluation(
            every=3, rows=4, questions="questions/heldout", samples=2
        ),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)
