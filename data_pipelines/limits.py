"""How often a run may see the documents of a source."""

from collections.abc import Sequence

from data_pipelines.pools import GlobalPlan
from mmjax.config import Source


def check(plan: GlobalPlan, sources: Sequence[Source], done: int = 0) -> list[str]:
    """Warnings about sources that the run goes through more often than it may.

    `done` are the steps that it has taken: a plan may know nothing before them. Raises
    ValueError where a source says that such a run must stop, with the last step that it
    may have.
    """
    epochs = plan.counts(plan.steps)["epochs"]
    warnings, errors = [], []
    for place, source in enumerate(sources):
        if not source.max_epochs or epochs[place] <= source.max_epochs:
            continue
        last = _last_step(plan, place, source.max_epochs, done)
        (errors if source.beyond == "stop" else warnings).append(
            f"data.sources[{place}].max_epochs={source.max_epochs:g}: {plan.steps} "
            f"steps go through {source.name} {epochs[place]:.2f} times, further than "
            f"that from step {last} on"
        )
    if errors:
        rule = "take fewer steps, give it less weight, or set beyond=warn"
        raise ValueError("\n".join(f"{error}; {rule}" for error in errors))
    return warnings


def _last_step(plan: GlobalPlan, place: int, most: float, done: int) -> int:
    """Steps after which the source has been seen at most so many times, or `done`."""
    low, high = done, plan.steps
    while low < high:
        middle = (low + high + 1) // 2
        if plan.counts(middle)["epochs"][place] <= most:
            low = middle
        else:
            high = middle - 1
    return low
