"""The pace: never faster than said, and nobody starts in a pause."""

import itertools
import threading
import time

import pytest

from data_pipelines.endpoint.pace import Pace, Stopped


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_starts_are_evenly_spaced_and_idle_time_is_not_saved_up():
    clock = Clock()
    pace = Pace(120, clock, clock.sleep)
    starts = []
    for number in range(8):
        clock.now += 10.0 if number == 4 else 0.1  # what the caller does in between
        pace.start()
        starts.append(clock.now)
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(gap >= 0.5 - 1e-9 for gap in gaps)
    assert gaps[0] == pytest.approx(0.5)
    assert gaps[4] == pytest.approx(0.5)  # after the idle time, no burst


def test_nobody_starts_in_a_pause_and_the_longest_pause_counts():
    clock = Clock()
    pace = Pace(6000, clock, clock.sleep)
    pace.start()
    pace.pause(30)
    pace.pause(5)
    pace.start()
    assert clock.now == pytest.approx(130)
    pace.sleep(7)
    assert clock.now == pytest.approx(137)


def test_threads_together_keep_the_pace():
    pace, starts, lock = Pace(6000), [], threading.Lock()

    def work():
        for _ in range(5):
            pace.start()
            with lock:
                starts.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(starts) == 30
    assert max(starts) - min(starts) >= 28 * 0.01


def test_a_pause_reaches_those_who_wait_already():
    pace, started = Pace(600), []
    pace.start()
    thread = threading.Thread(
        target=lambda: started.append((pace.start(), time.monotonic()))
    )
    begin = time.monotonic()
    thread.start()
    pace.pause(0.4)
    thread.join()
    assert started[0][1] - begin >= 0.39


def test_who_waits_goes_home_when_the_run_ends():
    pace = Pace(0.1)
    pace.start()
    ended = []

    def work(wait):
        with pytest.raises(Stopped):
            wait()
        ended.append(1)

    waits = (pace.start, lambda: pace.sleep(1000))
    threads = [threading.Thread(target=work, args=(wait,)) for wait in waits]
    for thread in threads:
        thread.start()
    pace.stop()
    for thread in threads:
        thread.join(5)
    assert len(ended) == 2
