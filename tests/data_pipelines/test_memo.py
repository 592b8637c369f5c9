"""Tests of memories: computed once, forgotten in order, safe to share."""

import concurrent.futures
import pickle
import time

import pytest

from data_pipelines.memo import Memo, RunningTotal


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


def test_running_totals_find_the_key_that_holds_an_amount():
    total = RunningTotal(lambda key: key + 1)  # 0 | 1 2 | 3 4 5 | 6 7 8 9 | ...
    assert [total.find(amount) for amount in (0, 1, 2, 3, 5, 6)] == [
        (0, 0), (1, 1), (1, 1), (2, 3), (2, 3), (3, 6),
    ]  # fmt: skip
    assert [total.before(key) for key in (4, 0, 2)] == [10, 0, 3]


def test_pickled_running_totals_keep_what_they_know():
    function = Counter()
    total = RunningTotal(function)
    total.before(3)
    copy = pickle.loads(pickle.dumps(total))
    assert copy.before(3) == 30
