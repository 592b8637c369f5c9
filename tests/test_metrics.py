"""Sums, records, writers and the progress line."""

import io
import json
import struct
import sys

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from mmjax import config, metrics

SOURCES = ("captions", "text")


def step(seed):
    """What one train step and the loop measure, as arrays."""
    random = np.random.default_rng(seed)
    return {
        "loss_sum_by_source": random.uniform(50, 90, 2).astype(np.float32),
        "loss_tokens_by_source": np.array([30, 10 * (seed % 2)], np.int32),
        "z_loss_sum": np.float32(random.uniform()),
        "grad_norm": np.float32(random.uniform()),
        "param_norm": np.float32(10 + seed),
        "learning_rate": np.float32(0.1 * seed),
        "images": np.int32(9),
        "slots": np.int32(10),
        "tokens": np.int32(95),
        "positions": np.int32(100),
        "steps": 1,
        "seconds": 0.5,
        "waited": 0.1,
        "flops": 1e9,
    }


def total(seeds, sums=None):
    sums = sums or {}
    for seed in seeds:
        sums = metrics.add(sums, step(seed))
    return sums


def test_sums_are_the_same_bits_after_an_interruption():
    whole = total(range(1, 8))
    first = json.loads(json.dumps(total(range(1, 4))))
    assert total(range(4, 8), first) == whole


def test_a_record_weighs_tokens_not_steps():
    record = metrics.summary(total([1, 2]), SOURCES)
    steps = [step(1), step(2)]
    captions = sum(float(s["loss_sum_by_source"][0]) for s in steps) / 60
    everything = sum(float(s["loss_sum_by_source"].sum(dtype=float)) for s in steps)
    assert record["loss/captions"] == pytest.approx(captions, rel=1e-12)
    assert record["loss"] == pytest.approx(everything / 70, rel=1e-7)
    assert record["learning_rate"] == pytest.approx(0.2)
    assert record["param_norm"] == 12
    assert record["pool_fill"] == 0.9
    assert record["token_fill"] == 0.95
    assert record["tokens_per_second"] == 190
    assert record["data_wait_share"] == pytest.approx(0.2)
    assert record["flops_per_second"] == 2e9


def test_a_source_without_tokens_has_no_loss():
    assert "loss/text" not in metrics.summary(total([2]), SOURCES)


def test_a_resumed_log_has_every_step_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metrics.JsonLines(path, 0)
    for at in (10, 20, 30):
        log.write(at, {"loss": at / 3})
    log.close()
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # killed while it wrote
    log = metrics.JsonLines(path, 20)
    log.write(30, {"loss": 1.0, "z": float("nan")})
    log.close()
    assert metrics.read_lines(path) == [
        {"step": 10, "loss": 10 / 3},
        {"step": 20, "loss": 20 / 3},
        {"step": 30, "loss": 1.0, "z": None},
    ]


def test_two_records_of_one_step_are_one_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = metrics.JsonLines(path, 0)
    log.write(10, {"loss": 1.0})
    log.write(20, {"loss": 2.0})
    log.write(20, {"heldout_loss/text": 3.0})
    log.close()
    log = metrics.JsonLines(path, 20)
    log.write(20, {"heldout_loss/text": 3.5})
    log.write(30, {"loss": 4.0})
    log.close()
    assert metrics.read_lines(path) == [
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 2.0, "heldout_loss/text": 3.5},
        {"step": 30, "loss": 4.0},
    ]


def scalars(folder):
    """{name: [(step, value)]} of the event files in a folder."""
    found = {}
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # length, its checksum, an event, its checksum
            (size,) = struct.unpack_from("Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            at += size + 16
    return found


def test_tensorboard_gets_the_same_numbers(tmp_path):
    log = config.Log(tensorboard=True)
    for writer in metrics.writers(log, tmp_path, 0, {}):
        writer.write(10, {"loss": 2.5})
        writer.write(20, {"loss": 1.5})
        writer.close()
    assert metrics.read_lines(tmp_path / "metrics.jsonl")[1]["loss"] == 1.5
    assert scalars(tmp_path / "tensorboard") == {"loss": [(10, 2.5), (20, 1.5)]}


def test_weights_and_biases_is_optional_and_its_absence_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    log = config.Log(wandb_project="mine")
    with pytest.raises(ValueError, match=r"log\.wandb_project='mine'.*mmjax\[wandb\]"):
        metrics.writers(log, tmp_path, 0, {})


def test_the_progress_line_says_all_that_is_known():
    record = metrics.summary(total([1, 3]), SOURCES)
    line = metrics.progress_line(20, 120, record, SOURCES)
    for part in ("step 20/120", "captions", "text", "190 tokens/s", "18.0 images/s",
                 "2.00GFLOP/s", "data wait 20%", "pool 90%", "ETA 50s"):  # fmt: skip
        assert part in line
    assert "MFU" not in line
    assert "bad" not in line
    assert "MFU 41.2%" in metrics.progress_line(20, 120, record | {"mfu": 0.412}, ())


def test_a_terminal_has_one_live_line_and_a_file_all_of_them():
    file = io.StringIO()
    screen = metrics.Screen(file)
    screen.progress("one")
    screen.progress("two")
    screen.say("saved")
    assert file.getvalue() == "one\ntwo\nsaved\n"
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    screen = metrics.Screen(terminal)
    screen.progress("x" * 1000)
    screen.say("saved")
    assert "\n" not in terminal.getvalue()[:-1]
    assert terminal.getvalue().endswith("\r\x1b[Ksaved\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (999.4, "999"), (999.6, "1.00k"), (12345, "12.3k"),
     (9.996e6, "10.0M"), (1e12, "1.00T"), (3.2e17, "320P"), (5e19, "50000P")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert metrics.compact(value) == text


def test_durations_have_two_units():
    assert [metrics.clock(s) for s in (7, 306, 11040, 93600)] == [
        "7s", "5m06s", "3h04m", "1d02h",
    ]  # fmt: skip


def routed(seed):
    """What a step of a model with two layers of three experts measures besides."""
    load = [[8, 4, 0], [4, 4, 4]] if seed % 2 else [[4, 4, 4], [6, 6, 0]]
    return step(seed) | {
        "router_balance_by_layer": np.array([95.0, 190.0], np.float32),
        "router_z_by_layer": np.array([9.5, 0.0], np.float32),
        "router_dropped_by_layer": np.array([3, 0], np.int32),
        "router_load_by_layer": np.array(load, np.int32),
    }


def test_routers_are_told_by_layer_and_as_shares():
    sums = metrics.add(metrics.add({}, routed(1)), routed(2))
    record = metrics.summary(json.loads(json.dumps(sums)), SOURCES)
    assert record["balance_loss"] == pytest.approx(1.5)  # of 1 and 2, a token
    assert record["router_z_loss"] == pytest.approx(0.05)
    assert record["dropped_share"] == pytest.approx(6 / 48)
    loads = {k: v for k, v in record.items() if k.startswith(metrics.LOAD)}
    assert loads == pytest.approx(
        {
            "expert_load/layer1/min": 0.5,  # 4 of an even 8
            "expert_load/layer1/max": 1.5,
            "expert_load/layer2/min": 0.5,
            "expert_load/layer2/max": 1.25,
        }
    )
    line = metrics.progress_line(1, 2, record, SOURCES)
    assert "balance 1.50, dropped 12.5%, experts 0.50 to 1.50 of even" in line
    dense = metrics.progress_line(1, 2, metrics.summary(total([1]), SOURCES), SOURCES)
    assert "balance" not in dense
