"""Whether the data hold what an encoder's objective learns from."""

import numpy as np

from data_pipelines.plan import SourcePlan
from data_pipelines.pools import GlobalPlan
from mmjax.config import Config

LOOK = 100_000  # documents of a source that are looked at


def _has_image(totals: np.ndarray) -> np.ndarray:
    return totals["images"] > 0


def _is_pair(totals: np.ndarray) -> np.ndarray:
    """One image, and text that counts besides the document's first token."""
    text = totals["positions"] - totals["image_tokens"] > 1
    return (totals["images"] == 1) & text & (totals["loss_tokens"] > 0)


# What documents are of use, by objective: in words, and by their totals.
USEFUL = {
    "aim": ("an image", _has_image),
    "contrastive": ("one image and text", _is_pair),
}


def check(plan: GlobalPlan, config: Config, done: int = 0) -> None:
    """Raises ValueError where the run after `done` steps would learn nothing.

    That is where a source in use has no document that its objective learns from, or a
    batch has too few to compare.
    """
    kind = config.model.objective.kind
    if kind not in USEFUL:
        return
    what, useful = USEFUL[kind]
    for place, source in enumerate(plan.sources):
        if source is not None and not useful(_totals(source)[:LOOK]).any():
            raise ValueError(
                f"data.sources[{place}]: {source.name} has no document of {what}, "
                f"which the {kind} objective learns from; give it weight 0"
            )
    if kind == "contrastive" and done < plan.steps:
        _require_two_pairs(plan, config, done)


def _require_two_pairs(plan: GlobalPlan, config: Config, step: int) -> None:
    found = 0
    for group in plan.rows_of(step):
        for planned in group:
            for place, chunk in zip(planned.of_chunks(), planned.row.chunks):
                source = plan.sources[place]
                if source is not None and chunk.start == 0:
                    found += bool(_is_pair(_totals(source)[chunk.document]))
    if found < 2:
        raise ValueError(
            f"data.rows_per_batch={config.data.rows_per_batch}: batch {step} has "
            f"{found} pair(s) of image and text, and the contrastive objective "
            "compares at least 2; take more rows, or longer ones"
        )


def _totals(source: SourcePlan) -> np.ndarray:
    totals = source.documents.totals
    assert totals is not None
    return totals
