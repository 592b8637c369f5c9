"""The global plan: the packed rows of every batch, dealt to pool groups."""

from typing import NamedTuple

from data_pipelines.plan import Row


class PlannedRow(NamedTuple):
    """A row of a batch; an empty one pads a finite plan (source 0, no chunks)."""

    source: int  # place in config.data.sources
    row: Row
