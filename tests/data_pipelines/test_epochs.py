"""Epochs: no document is skipped or comes twice, whatever weights are shares of."""

import bisect

import numpy as np
import plan_samples
import pytest

from data_pipelines import plan, pools
from data_pipelines.plan import SourcePlan
from mmjax.config import UNITS

SIZES = {
    "captions": (11_000, 12, 1),
    "interleaved": (4000, 40, 2),
    "text": (5000, 60, 0),
}
EPOCHS = 3
# About as many rows, documents or loss tokens as the sources have in an epoch.
WEIGHTS = {"row": (27, 30, 43), "loss_token": (25, 28, 47), "document": (11, 4, 5)}


def planned(unit):
    """The plan of 20,000 documents, in blocks of one batch."""
    config = plan_samples.make_config(
        steps=700, weights=WEIGHTS[unit], rows_per_batch=96, rows_per_pool=16,
        pack_window=512, block_batches=1,
    )  # fmt: skip
    config.mixture.unit = unit
    layout = plan.layout(config)
    sources = [SourcePlan(n, plan_samples.sample(*k), layout) for n, k in SIZES.items()]
    return pools.GlobalPlan(config, sources)


def begins_within(whole, unit, step, source):
    """Whether an epoch of a source may begin among rows that are packed together."""
    if unit != "document":
        return False  # windows end with the epoch
    _, _, taken, *_ = whole.known(step)["mixture"]
    size = SIZES[list(SIZES)[source]][0]
    return taken[source] % size + 512 > size


@pytest.mark.parametrize("unit", UNITS)
def test_no_document_is_skipped_or_repeated_within_an_epoch(unit):
    """At every step each was delivered as often as any other of its source, or once
    more: in positions, so that parts of a long document count as parts."""
    whole = planned(unit)
    sizes = [source.documents.totals["positions"] for source in whole.sources]
    seen = [np.zeros(len(size), np.int64) for size in sizes]
    steps = bisect.bisect_left(
        range(whole.steps), EPOCHS + 0.2, key=lambda n: whole.counts(n)["epochs"].min()
    )
    for step in range(steps):
        for row in (row for group in whole.rows_of(step) for row in group):
            for source, chunk in zip(row.of_chunks(), row.row.chunks):
                seen[source][chunk.document] += chunk.stop - chunk.start
        for source, (size, got) in enumerate(zip(sizes, seen)):
            times = got / size
            beyond = begins_within(whole, unit, step + 1, source)
            assert times.max() - times.min() <= 1 + beyond, (step, source)
    assert all((got >= EPOCHS * size).all() for size, got in zip(sizes, seen))
