import numpy as np
import pytest

from mmjax.evals import bootstrap, metric
from mmjax.evals.scorers import captions

RNG = np.random.default_rng(0)


def test_a_means_interval_is_that_of_the_normal_law():
    scores = RNG.normal(3.0, 2.0, 4000)
    low, high = bootstrap.interval(metric.mean(scores), seed=0)
    spread = 1.96 * scores.std() / np.sqrt(len(scores))
    assert low == pytest.approx(scores.mean() - spread, abs=0.1 * spread)
    assert high == pytest.approx(scores.mean() + spread, abs=0.1 * spread)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(300):
        found = metric.mean(rng.random(80) < 0.4)
        low, high = bootstrap.interval(found, seed, 400)
        hits += low <= 0.4 <= high
    assert 0.90 < hits / 300 < 0.985


def test_bleu_is_resampled_as_a_corpus_metric():
    """Against scoring each resampled corpus anew, from its captions."""
    words = [f"w{i}" for i in range(8)]
    rng = np.random.default_rng(2)
    said = [list(rng.choice(words, 7)) for _ in range(30)]
    true = [[list(rng.choice(words, 7)) for _ in range(3)] for _ in said]
    found = captions.of_tokens(said, true)["BLEU_2"]
    draws = rng.integers(0, 30, (400, 30))
    anew = [
        captions.of_tokens([said[i] for i in row], [true[i] for i in row])[
            "BLEU_2"
        ].value
        for row in draws
    ]
    counts = np.stack([np.bincount(row, minlength=30) for row in draws])
    np.testing.assert_allclose(found.formula(counts @ found.sums), anew, atol=1e-12)
    low, high = bootstrap.interval(found, 3, 4000)
    assert [low, high] == pytest.approx(
        list(np.quantile(anew, [0.025, 0.975])), abs=0.02
    )
    assert low < found.value < high


def test_an_interval_depends_on_its_seed_alone():
    found = metric.mean(RNG.random(50))
    assert bootstrap.interval(found, 1) == bootstrap.interval(found, 1)
    assert bootstrap.interval(found, 1) != bootstrap.interval(found, 2)


def test_a_subset_is_resampled_with_the_whole():
    scores, counted = RNG.random(200), RNG.random(200) < 0.3
    found = metric.mean(scores, counted)
    assert found.value == pytest.approx(scores[counted].mean())
    low, high = bootstrap.interval(found, 0)
    spread = 1.96 * scores[counted].std() / np.sqrt(counted.sum())
    assert high - low == pytest.approx(2 * spread, rel=0.15)


def test_nothing_counted_is_not_a_number_and_no_error():
    empty = metric.mean([])
    assert np.isnan(empty.value)
    assert np.isnan(bootstrap.interval(empty, 0)).all()
    assert np.isnan(bootstrap.interval(metric.mean([1.0], [False]), 0)).all()
