"""Faults: limits hold at every document, and errors cross processes."""

import pickle

import numpy as np
import pytest

from data_pipelines import faults
from data_pipelines.faults import BadRecordError, Limits, Watch


def first_passed(bad, limits):
    """Where a plain loop over all documents finds a limit passed."""
    allowed = int(limits.share * faults.WINDOW + 1e-6)
    for at in range(len(bad)):
        if bad[at] and (
            bad[max(0, at + 1 - faults.WINDOW) : at + 1].sum() > allowed
            or bad[max(0, at - limits.in_a_row) : at + 1].sum() > limits.in_a_row
        ):
            return at
    return None


@pytest.mark.parametrize("seed", range(8))
def test_limits_are_passed_where_a_plain_loop_finds_it(seed, monkeypatch):
    monkeypatch.setattr(faults, "WINDOW", 50)
    rng = np.random.default_rng(seed)
    limits = Limits(share=[0.1, 0.5, 1.0][seed % 3], in_a_row=int(rng.integers(2, 9)))
    bad = rng.random(3000) < [0.05, 0.3, 0.5][seed % 3]
    watch, found, start = Watch(limits), None, 0
    while start < len(bad) and found is None:
        size = int(rng.integers(0, 40))
        part = bad[start : start + size]
        passed = watch.take(len(part), np.flatnonzero(part).tolist())
        found = None if passed is None else start + passed[0]
        start += len(part)
    assert found == first_passed(bad, limits)


def test_the_default_bears_ten_bad_documents_of_ten_thousand():
    watch = Watch(Limits(0.001, 100))
    assert watch.take(20, list(range(0, 20, 2))) is None
    place, words = watch.take(1, [0])
    assert place == 0
    assert words == (
        "11 of the last 21 documents are bad, data.max_bad_share=0.001 of 10000 "
        "allows 10"
    )
    fresh = Watch(Limits(0.001, 100))
    assert fresh.take(20, list(range(0, 20, 2))) is None
    assert fresh.take(faults.WINDOW, [faults.WINDOW - 1]) is None  # those are far back


def test_no_bad_document_is_borne_where_none_may_be():
    assert Watch(Limits(0.0, 100)).take(5, [3]) is not None
    assert Watch(Limits(0.0, 100)).take(5, []) is None


def test_an_error_crosses_processes_as_it_is():
    error = pickle.loads(pickle.dumps(BadRecordError("corrupt", "x: record 1")))
    assert (error.reason, str(error)) == ("corrupt", "x: record 1")
    assert error.reason in faults.REASONS
