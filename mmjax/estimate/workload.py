"""What a step works on: from the data where they are there, else assumed, and said."""

from typing import NamedTuple

from data_pipelines import pipeline as pipelines
from mmjax import config as config_lib
from mmjax import dry_run, flops
from mmjax.config import Config
from mmjax.flops import Work

POOL_FILL = 0.95  # share of image slots that hold one, where the data don't tell


class Workload(NamedTuple):
    """A batch, as far as its cost goes."""

    capacity: int  # image slots of a pool group
    work: Work  # of a step
    note: str  # where it is from


def of(config: Config, images_per_row: float) -> Workload:
    """The workload of a config.

    Where its data can't be opened, rows are full, of one document each, and have
    `images_per_row` slots, of which POOL_FILL are used.
    """
    try:
        opened = pipelines.open(config)
    except ValueError as error:
        why = str(error).splitlines()[0]
        return _assumed(config, images_per_row, why)
    batches, work = dry_run.mean_work(config, opened)
    note = f"as planned from the data, the mean of the first {batches} batches"
    return Workload(opened.capacity, work, note)


def _assumed(config: Config, images_per_row: float, why: str) -> Workload:
    data, multiple = config.data, config.data.pool_multiple
    capacity = data.pool_capacity
    if not capacity:
        wanted = images_per_row * data.rows_per_pool
        least = max(wanted, config_lib.most_crops(config.model), 1)
        capacity = -int(-least // multiple) * multiple
    groups = data.rows_per_batch // data.rows_per_pool
    images = POOL_FILL * capacity * groups
    lengths = [data.row_tokens] * data.rows_per_batch
    work = flops.work(images, lengths, config.model.decoder.window)
    note = (
        f"assumed: full rows of one document, {POOL_FILL:.0%} of "
        f"{capacity / data.rows_per_pool:g} image slots a row ({why})"
    )
    return Workload(capacity, work, note)
