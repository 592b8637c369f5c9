"""What every source delivers in a run: exact counts and shares, before it runs."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from data_pipelines.batches import Pipeline
from data_pipelines.index_columns import STATS
from data_pipelines.inspect import tables
from mmjax.config import Config

# More passes over the same data begin to be worth less than new data (Muennighoff et
# al., arXiv 2305.16264).
MOST_EPOCHS = 4
UNITS = {
    "documents": "documents",
    "rows": "rows",
    "positions": "tokens",
    "text_tokens": "text tokens",
    "image_tokens": "image tokens",
    "loss_tokens": "loss tokens",
    "images": "images",
    "slots": "slots",
}
assert set(STATS) < set(UNITS)


def for_steps(config: Config, steps: int) -> Config:
    """The config with another number of steps; 0: its own."""
    return dataclasses.replace(config, steps=steps) if steps else config


def text(config: Config, opened: Pipeline) -> str:
    """Counts, shares and epochs by source of all steps of the config, and fill."""
    counts = opened.plan.counts(config.steps)
    names = [source.name for source in config.data.sources]
    head = (
        f"{config.steps:,} steps of {config.data.rows_per_batch} rows of "
        f"{config.data.row_tokens:,} tokens"
    )
    blocks = [head, _counts(names, counts), _shares(config, names, counts)]
    blocks += ["\n".join(_fill(config, opened, counts)), "\n".join(_schedule(config))]
    blocks.append("\n".join(f"warning: {w}" for w in warnings(names, counts)))
    return "\n\n".join(block for block in blocks if block)


def warnings(names: list[str], counts: Mapping[str, np.ndarray]) -> list[str]:
    """A line for every source that repeats more than is good for it."""
    return [
        f"{name}: {epochs:.1f} epochs; beyond {MOST_EPOCHS}, repeated data are worth "
        "less and less"
        for name, epochs in zip(names, counts["epochs"].tolist())
        if epochs > MOST_EPOCHS
    ]


def _counts(names: list[str], counts: Mapping[str, np.ndarray]) -> str:
    rows = [
        (name, *(f"{int(counts[u][i]):,}" for u in UNITS), f"{counts['epochs'][i]:.3f}")
        for i, name in enumerate(names)
    ]
    rows.append(("in all", *(f"{int(counts[unit].sum()):,}" for unit in UNITS), ""))
    return tables.table(("delivered", *UNITS.values(), "epochs"), rows)


def _shares(config: Config, names: list[str], counts: Mapping[str, np.ndarray]) -> str:
    weights = config.mixture.weights
    rows = [
        (
            name,
            *(tables.percent(counts[u][i], counts[u].sum(), 2) for u in UNITS),
            tables.percent(weights[i], sum(weights), 2),
        )
        for i, name in enumerate(names)
    ]
    return tables.table(("share of", *UNITS.values(), "weights"), rows)


def _fill(
    config: Config, opened: Pipeline, counts: Mapping[str, np.ndarray]
) -> Iterator[str]:
    plan, data = opened.plan, config.data
    slots = config.steps * plan.groups_per_batch * plan.capacity
    positions = config.steps * data.rows_per_batch * data.row_tokens
    yield plan.note
    yield f"pool fill {tables.percent(counts['slots'].sum(), slots)} of the slots"
    used = tables.percent(counts["positions"].sum(), positions)
    yield f"token fill {used} of the rows' positions"


def _schedule(config: Config) -> Iterator[str]:
    for change in config.mixture.schedule:
        state = "" if change.step < config.steps else " (after the last step)"
        yield f"from step {change.step:,} on, weights are {change.weights}{state}"
