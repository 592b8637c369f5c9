"""Another mixture for the batches from a step on, of the sources that are open."""

import pathlib

from data_pipelines import pools
from data_pipelines.batches import Pipeline
from data_pipelines.pools import GlobalPlan
from mmjax.config import Config


def replan(
    opened: Pipeline,
    config: Config,
    step: int,
    cache: pathlib.Path | str | None = None,
) -> Pipeline:
    """The pipeline under the mixture of `config`, which is otherwise the one it has.

    Nothing is read or packed again: batches before `step` stay what they are wherever
    the weights change only from `plan.changeable_from(step)` on. The capacity never
    shrinks. Raises ValueError where a source gets a weight that isn't open, or a pool
    group needs more slots than data.pool_capacity.
    """
    plans = opened.plan.sources
    used = pools.used_sources(config)
    closed = [
        source.name
        for source, plan, wanted in zip(config.data.sources, plans, used)
        if wanted and plan is None
    ]
    if closed:
        raise ValueError(
            f"source {', '.join(closed)}: isn't open, since the run's config never "
            "gives it a weight; add the change to mixture.schedule of the config and "
            "start the command again"
        )
    known = opened.plan.known(step)
    return opened.with_plan(GlobalPlan(config, plans, known=known, cache_dir=cache))
