"""mmjax: prepared shards, planned rows, threads."""

import pathlib
from collections.abc import Iterable
from typing import Any

from benchmarks.loaders.base import Opened, Packed, Photo, Setup
from data_pipelines import machine, pipeline
from mmjax import config as config_lib
from mmjax.config import Config, Mixture, Source

NEEDS = ()
NOTE = "exact"


def write(photos: Iterable[Photo], setup: Setup) -> None:
    """Nothing: the corpus is prepared."""


def config(setup: Setup) -> Config:
    """Two epochs of the photos or more, with a thread for each core."""
    a_row = max(1, setup.row_tokens // (2 * setup.image_tokens))
    return Config(
        steps=2 + setup.documents // (a_row * setup.rows),
        model=config_lib.Model(
            vit=config_lib.ViT(image_size=setup.image_size),
            connector=config_lib.Connector(tokens=setup.image_tokens),
        ),
        data=config_lib.Data(
            root=setup.root,
            sources=(Source("captions"),),
            row_tokens=setup.row_tokens,
            rows_per_batch=setup.rows,
            rows_per_pool=setup.rows // 2,
            pool_multiple=4,
            threads=machine.cores(),
            prefetch=2,
            workers=setup.workers,
            seed=setup.seed,
        ),
        mixture=Mixture(weights=(1,)),
    )


def open(setup: Setup, state: Any) -> Opened:
    """Batches; the state is the number of the next one and what the plan knows."""
    step, known = state or (0, None)
    opened = pipeline.open(config(setup), pathlib.Path(setup.folder), known)

    def batches():
        nonlocal step
        for batch in opened.batches(step, opened.steps):
            step += 1
            tokens = int((batch.segments_ZRT > 0).sum())
            yield Packed(batch, int(batch.real_ZC.sum()), tokens)

    return Opened(batches(), lambda: (step, opened.plan.known(step)))
