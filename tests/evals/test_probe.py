"""Linear probes: what they read off, and that labels alone don't help them."""

import numpy as np
import pytest

from mmjax.evals import probe
from mmjax.evals.probe import Labelled


def labelled(seed: int, count: int, signal: float) -> Labelled:
    """Features in whose third channel two of three labels differ from the other."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b", "c"], count, p=[0.5, 0.3, 0.2])
    features = rng.normal(5, 2, size=(count, 8))
    features[:, 2] += signal * (labels == "a")
    features[:, 4] += signal * (labels == "b")
    return Labelled(features, labels.tolist())


def test_a_probe_reads_off_what_is_linear_in_the_features():
    assert probe.accuracy(labelled(0, 600, 40.0), labelled(1, 300, 40.0)) > 0.98


def test_features_that_tell_nothing_give_the_commonest_label():
    held_out = labelled(1, 600, 0.0)
    common = probe.most_common(held_out.labels)
    found = probe.accuracy(labelled(0, 900, 0.0), held_out)
    assert found == pytest.approx(common, abs=0.05)


def test_a_probe_is_ridge_regression_onto_the_classes():
    """Against augmented least squares, solved another way."""
    train, held_out = labelled(2, 50, 3.0), labelled(3, 40, 3.0)
    x = (train.features - train.features.mean(0)) / (train.features.std(0) + 1e-6)
    y = np.eye(3)[["abc".index(label) for label in train.labels]]
    root = np.sqrt(probe.RIDGE * len(x)) * np.eye(8)
    weights, *_ = np.linalg.lstsq(
        np.concatenate([x, root]),
        np.concatenate([y - y.mean(0), np.zeros((8, 3))]),
        rcond=None,
    )
    seen = (held_out.features - train.features.mean(0)) / (train.features.std(0) + 1e-6)
    named = ["abc"[i] for i in (seen @ weights + y.mean(0)).argmax(1)]
    right = np.mean([a == b for a, b in zip(named, held_out.labels)])
    assert probe.accuracy(train, held_out) == right


def test_nothing_to_fit_on_is_an_error():
    with pytest.raises(ValueError, match="needs images"):
        probe.accuracy(Labelled(np.zeros((0, 2)), []), labelled(0, 3, 1.0))
