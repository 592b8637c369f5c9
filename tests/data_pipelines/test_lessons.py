"""An encoder's run is refused where its data teach it nothing, before it begins."""

import pytest
from plan_samples import columns, make_config

from data_pipelines import lessons, plan, pools
from mmjax import config as config_lib

TEXT, OTHER = (False, 6, 0, True), (False, 6, 0, False)  # trained, and not trained
IMAGE = (True, 4, 1, False)
PAIR = [IMAGE, TEXT]


def check(kind, sources, weights, done=0, **data):
    """Checks a run of sources, lists of documents; None: one without weight."""
    config = make_config(weights=weights, **data)
    config.model.objective.kind = kind
    config.data.sources = tuple(
        config_lib.Source(name) for name in ("captions", "pages")
    )
    planned = [
        None
        if documents is None
        else plan.SourcePlan(name, columns(documents), plan.layout(config))
        for name, documents in zip(("captions", "pages"), sources)
    ]
    lessons.check(pools.GlobalPlan(config, planned), config, done)


@pytest.mark.parametrize("kind", ["contrastive", "aim", "next_token"])
def test_pairs_are_enough_for_every_objective(kind):
    check(kind, ([PAIR, [TEXT, IMAGE]], [PAIR, [TEXT]]), (1, 1))


@pytest.mark.parametrize(
    ("kind", "pages"),
    [
        ("contrastive", [[TEXT]]),
        ("contrastive", [[IMAGE, TEXT, IMAGE, TEXT]]),
        ("contrastive", [[IMAGE]]),
        ("contrastive", [[IMAGE, OTHER]]),
        ("aim", [[TEXT]]),
    ],
)
def test_a_source_that_teaches_nothing_is_named(kind, pages):
    with pytest.raises(ValueError, match=rf"sources\[1\]: pages has no .*{kind}"):
        check(kind, ([PAIR], pages), (1, 1))
    check(kind, ([PAIR], None), (1, 0))  # it has no weight
    check("next_token", ([PAIR], pages), (1, 1))


def test_a_batch_of_one_pair_has_nothing_to_compare():
    """A row of 16 positions holds one document of 1 + 4 + 6."""
    one = {"row_tokens": 16, "rows_per_batch": 1, "rows_per_pool": 1}
    with pytest.raises(ValueError, match=r"rows_per_batch=1: batch 0 has 1 pair"):
        check("contrastive", ([PAIR] * 9, None), (1, 0), **one)
    two = {**one, "rows_per_batch": 2, "rows_per_pool": 2}
    check("contrastive", ([PAIR] * 9, None), (1, 0), **two)
    check("contrastive", ([PAIR] * 9, None), (1, 0), **{**one, "row_tokens": 32})
    check("aim", ([PAIR] * 9, None), (1, 0), **one)


def test_a_run_that_is_done_is_not_planned_further():
    one = {"row_tokens": 16, "rows_per_batch": 1, "rows_per_pool": 1}
    check("contrastive", ([PAIR] * 9, None), (1, 0), done=20, **one)
