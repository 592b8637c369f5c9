"""A source is never gone through more often than its limit says, unseen."""

import pytest
from plan_samples import make, make_config

from data_pipelines import limits
from mmjax.config import Source


def sources(**options):
    return [Source("captions"), Source("interleaved", **options), Source("text")]


def test_a_run_within_its_limits_has_no_warning():
    assert limits.check(make(), sources(max_epochs=100)) == []
    assert limits.check(make(), sources()) == []


def test_a_run_beyond_a_limit_stops_or_warns_and_names_the_step():
    plan = make(make_config(steps=200))
    seen = plan.counts(200)["epochs"][1]
    most = round(seen / 2, 1)
    (warning,) = limits.check(plan, sources(max_epochs=most, beyond="warn"))
    step = int(warning.split("from step ")[1].split()[0])
    assert plan.counts(step)["epochs"][1] <= most < plan.counts(step + 1)["epochs"][1]
    with pytest.raises(
        ValueError, match=rf"max_epochs={most:g}: 200 steps .*step {step}"
    ):
        limits.check(plan, sources(max_epochs=most))
