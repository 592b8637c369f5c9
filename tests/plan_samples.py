"""Synthetic documents, as an index describes them, for the tests of plans."""

from collections.abc import Sequence

import numpy as np

from data_pipelines import plan, pools
from data_pipelines.index_columns import Documents
from data_pipelines.plan import SourcePlan
from mmjax import config as config_lib
from mmjax.config import Config

KINDS = {"captions": (600, 12, 1), "interleaved": (200, 40, 2), "text": (90, 60, 0)}
# A segment is (is an image, tokens, slots, has loss).
Segment = tuple[bool, int, int, bool]


def columns(documents: Sequence[Sequence[Segment]], digest: str = "d") -> Documents:
    """The columns of documents that are lists of segments."""
    segments = [segment for document in documents for segment in document]
    image, tokens, slots, loss = zip(*segments) if segments else ((), (), (), ())
    start = np.cumsum([0, *(len(document) for document in documents)])
    return Documents(
        segment_start=start.astype(np.int64),
        segment_tokens=np.array(tokens, np.int32),
        segment_image=np.array(image, bool),
        segment_slots=np.array(slots, np.int16),
        segment_loss=np.array(loss, bool),
        digest=digest,
        kind=np.zeros(len(documents), np.uint8),
        kinds=("plain",),
        synthetic=np.zeros(len(documents), bool),
    )


def sample(
    count: int, text: float, images: float, seed: int = 0, image_tokens: int = 4
) -> Documents:
    """Documents with lognormal texts of this mean and a random number of images."""
    rng = np.random.default_rng(seed)
    per_document = np.minimum(rng.poisson(images, count), 30)
    if images == 1:
        per_document[:] = 1
    words = np.maximum(1, rng.lognormal(np.log(text) - 0.32, 0.8, count)).astype(int)
    segments = 2 * per_document + (per_document == 0)
    start = np.concatenate([[0], np.cumsum(segments)])
    owner = np.repeat(np.arange(count), segments)
    odd = (np.arange(start[-1]) - start[owner]) % 2 == 1
    image = ~odd & (per_document[owner] > 0)
    share = np.maximum(1, words // np.maximum(per_document, 1))[owner]
    return Documents(
        segment_start=start.astype(np.int64),
        segment_tokens=np.where(image, image_tokens, share).astype(np.int32),
        segment_image=image,
        segment_slots=image.astype(np.int16),
        segment_loss=~image,
        digest=f"sample {count} {text} {images} {seed} {image_tokens}",
        kind=np.zeros(count, np.uint8),
        kinds=("plain",),
        synthetic=np.zeros(count, bool),
    )


def make_config(steps=20, weights=(45, 45, 10), schedule=(), **data) -> Config:
    """Rows of 64 tokens, images of 4, batches of 3 groups of 4 rows."""
    fields = {
        "row_tokens": 64,
        "rows_per_batch": 12,
        "rows_per_pool": 4,
        "pool_multiple": 4,
        "pack_window": 64,
        "block_batches": 6,
        **data,
    }
    return Config(
        steps=steps,
        model=config_lib.Model(connector=config_lib.Connector(tokens=4)),
        data=config_lib.Data(**fields),
        mixture=config_lib.Mixture(weights, schedule),
    )


def make(config=None, seed=0, known=None, **options) -> pools.GlobalPlan:
    """The global plan of three small sources."""
    config = config or make_config()
    layout = plan.layout(config)
    epochs = known["epochs"] if known else {}
    sources = [
        SourcePlan(
            name, sample(*kind, seed), layout, known=tuple(epochs.get(name, ("", ())))
        )
        if used
        else None
        for (name, kind), used in zip(KINDS.items(), pools.used_sources(config))
    ]
    return pools.GlobalPlan(config, sources, known=known, **options)
