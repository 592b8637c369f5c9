"""Ending early: signals, time, and the handlers that were there before."""

import signal

import pytest

from mmjax import stopping


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_asks_for_a_stop_and_the_handlers_come_back(number):
    before = [signal.getsignal(n) for n in stopping.SIGNALS]
    stop = stopping.Stop(0.0, 10)
    with stop.listening():
        assert stop.reason(1) == ""
        signal.raise_signal(number)
        assert stop.reason(2) == signal.Signals(number).name
        assert [signal.getsignal(n) for n in stopping.SIGNALS] == before
    assert [signal.getsignal(n) for n in stopping.SIGNALS] == before


def test_a_second_interrupt_acts_at_once():
    stop = stopping.Stop(0.0, 10)
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_time_is_over_after_max_hours():
    assert stopping.Stop(1.0, 10).reason(1) == ""
    assert "max_hours=1e-15" in stopping.Stop(1e-15, 10).reason(1)
