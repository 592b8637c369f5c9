"""Tests of memories: computed once, forgotten in order, safe to share."""

import concurrent.futures
import pickle
import time

import pytest

from data_pipelines.memo import Chain, Memo


class Counter:
    """A function that counts its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, key: int) -> int:
        self.calls.append(key)
        return 10 * key


def test_a_result_is_computed_once_and_the_least_recent_one_is_forgotten():
    function = Counter()
    memo = Memo(function, 2)
    assert [memo(key) for key in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert function.calls == [1, 2, 3, 2]


def test_threads_that_ask_at_once_compute_once():
    calls = []

    def slow(key):
        calls.append(key)
        time.sleep(0.02)
        return key

    memo = Memo(slow, 2)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(memo, [5] * 8)) == {5}
    assert calls == [5]


def test_a_pickled_memo_forgets_and_works():
    memo = Memo(Counter(), 2)
    memo(4)
    copy = pickle.loads(pickle.dumps(memo))
    assert copy(4) == 40


def test_an_error_is_raised_again_each_time():
    memo = Memo(lambda key: 1 // key, 2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            memo(0)


def triangle(values):
    """0, 1, 3, 6, 10, ... with the number of each."""
    number, total = values
    return number + 1, total + number + 1


def test_a_chain_finds_the_last_value_within_a_limit():
    chain = Chain([(0, 0)], triangle)
    found = [chain.last(limit, key=lambda value: value[1]) for limit in (0, 1, 2, 3, 6)]
    assert found == [(0, 0), (1, 1), (1, 1), (2, 3), (3, 6)]
    assert [chain[number] for number in (4, 0, 2)] == [(4, 10), (0, 0), (2, 3)]


def test_a_chain_goes_on_from_all_first_values_and_keeps_them_when_pickled():
    asked = []

    def after(value):
        asked.append(value)
        return triangle(value)

    first = [(0, 0), (1, 1), (2, 3)]
    chain = Chain(first, after)
    assert chain[3] == (3, 6)
    assert asked == [(2, 3)]
    copy = pickle.loads(pickle.dumps(Chain(first, triangle)))
    assert [copy[number] for number in range(5)] == [*first, (3, 6), (4, 10)]
