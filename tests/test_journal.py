"""The journal: records of whole intervals, whatever interrupts them."""

import io
import json

import numpy as np
import pytest

from mmjax import journal, metrics

SOURCES = ("captions", "text")


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self):
        self.records = {}

    def write(self, step, record):
        assert step not in self.records
        self.records[step] = record

    def close(self):
        pass


def measured(step):
    random = np.random.default_rng(step)
    return {
        "loss_sum_by_source": random.uniform(50, 90, 2).astype(np.float32),
        "loss_tokens_by_source": np.array([30, step % 3], np.int32),
        "z_loss_sum": np.float32(random.uniform()),
        "grad_norm": np.float32(random.uniform()),
        "param_norm": np.float32(10 + step),
        "learning_rate": np.float32(0.1 * step),
        "images": np.int32(9),
        "slots": np.int32(10),
        "tokens": np.int32(95),
        "positions": np.int32(100),
    }


def make(writer, saved=None, steps=12, peak=None):
    screen = metrics.Screen(io.StringIO())
    return journal.Journal(SOURCES, steps, 5, peak, [writer], screen, saved)


def walk(book, first, last, seen=measured):
    for number in range(first, last + 1):
        counts = {"captions": {"rows": 3, "loss_tokens": 31}, "text": {"rows": 1}}
        faults = {
            "image": np.array([number % 4 == 0, 0], np.int32),
            "corrupt": np.array([0, 2 * (number == 7)], np.int32),
        }
        book.step(number, seen(number), journal.Cost(0.0, 1e9, counts, faults))


def exact(records):
    """The records without what a clock decides."""
    clocked = ("seconds_per_step", "data_wait_share")
    return {
        step: {
            name: value
            for name, value in record.items()
            if name not in clocked and not name.endswith("_per_second")
        }
        for step, record in records.items()
    }


def test_a_record_is_written_one_interval_late():
    book = make(kept := Kept())
    walk(book, 1, 9)
    assert not kept.records
    walk(book, 10, 10)
    assert list(kept.records) == [5]
    book.flush()
    assert list(kept.records) == [5, 10]


def test_reading_waits_for_no_step_of_the_last_interval():
    class Unready:
        def __array__(self, *_, **__):
            raise AssertionError("the host waited for a step in flight")

    def seen(step):
        values = measured(step)
        return values if step <= 5 else dict.fromkeys(values, Unready())

    walk(make(Kept()), 1, 10, seen)


@pytest.mark.parametrize("end", [3, 5, 7, 10, 11])
def test_an_interrupted_journal_writes_the_records_of_an_uninterrupted_one(end):
    whole = make(all_at_once := Kept())
    walk(whole, 1, 12)
    whole.flush()
    first = make(before := Kept())
    walk(first, 1, end)
    first.flush()
    saved = json.loads(json.dumps(first.state()))
    walk(first, end + 1, min(end + 2, 12))  # lost with the process
    second = make(after := Kept(), saved)
    walk(second, end + 1, 12)
    second.flush()
    kept = {step: r for step, r in before.records.items() if step <= end}
    assert exact(kept | after.records) == exact(all_at_once.records)
    assert sorted(all_at_once.records) == [5, 10, 12]
    assert exact({0: second.total()}) == exact({0: whole.total()})
    assert second.state()["delivered"] == whole.state()["delivered"]


def test_what_was_delivered_counts_the_loss_tokens_that_did_count():
    book = make(kept := Kept())
    walk(book, 1, 12)
    book.flush()
    last = kept.records[12]
    assert last["delivered/captions/rows"] == 36
    assert last["delivered/captions/loss_tokens"] == 360  # measured, not planned
    assert last["delivered/text/loss_tokens"] == sum(n % 3 for n in range(1, 13))


def test_bad_documents_are_counted_from_the_start_and_told():
    book = make(kept := Kept())
    walk(book, 1, 12)
    book.flush()
    told = {
        step: {name: value for name, value in record.items() if "fault" in name}
        for step, record in kept.records.items()
    }
    assert told[5] == {"faults": 1, "faults/captions/image": 1}
    assert told[10] == {
        "faults": 4, "faults/captions/image": 2, "faults/text/corrupt": 2,
    }  # fmt: skip
    assert told[12]["faults"] == 5
    assert book.faults() == {"captions": {"image": 3}, "text": {"corrupt": 2}}
    lines = book._screen._stream.getvalue().splitlines()
    assert [line.rpartition("| ")[2] for line in lines] == [
        f"bad documents {count}" for count in (1, 4, 5)
    ]


def test_mfu_is_told_where_the_peak_is_known():
    book = make(kept := Kept(), peak=1e15)
    walk(book, 1, 5)
    book.flush()
    record = kept.records[5]
    assert record["mfu"] == pytest.approx(record["flops_per_second"] / 1e15)
    unknown = make(kept := Kept())
    walk(unknown, 1, 5)
    unknown.flush()
    assert "mfu" not in kept.records[5]


@pytest.mark.parametrize("name", ["loss_sum_by_source", "grad_norm"])
def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(name):
    def seen(step):
        values = measured(step)
        return values | {name: values[name] * np.float32(np.nan if step == 4 else 1)}

    book = make(Kept())
    walk(book, 1, 5, seen)
    with pytest.raises(ValueError, match=r"step 4: the loss or its gradient is not"):
        book.flush()
