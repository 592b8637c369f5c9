"""The prediction: speed, days and price follow from the step's time."""

import json

import estimate_samples
import pytest

from mmjax import flops
from mmjax.estimate import prediction, text


@pytest.fixture(scope="module")
def found():
    return estimate_samples.predicted(price_per_chip_hour=2.5)


def test_mfu_is_the_models_flops_over_what_all_chips_could_do(found):
    config, trainable = estimate_samples.config(), estimate_samples.RESULT["trainable"]
    needed = flops.step(config.model, found.workload.work, trainable)
    possible = 64 * 459e12 * found.seconds
    assert found.mfu == pytest.approx(sum(needed.values()) / possible)


def test_days_and_price_are_those_of_all_steps_and_chips(found):
    hours = 200_000 * found.seconds / 3600
    assert found.hours == pytest.approx(hours)
    assert found.price == pytest.approx(hours * 64 * 2.5)
    assert estimate_samples.predicted().price is None


def test_json_has_the_figures_that_programs_read(found):
    read = json.loads(prediction.to_json(found))
    assert read["predicted_mfu"] == found.mfu
    assert read["step_seconds"] == found.seconds
    assert read["bytes_per_chip"] == 31 * 2**30 + 2**20
    assert sum(read["parts"].values()) == pytest.approx(found.seconds)
    passes = read["components"].values()
    total = sum(seconds for each in passes for seconds in each.values())
    assert total == pytest.approx(found.seconds)
    sizes = {"data": 4, "fsdp": 16, "tensor": 1, "expert": 1, "context": 1}
    assert read["mesh"] == sizes
    assert read["predicted_error"] == 0.05


def test_two_devices_of_a_chip_count_as_one_chip():
    found = estimate_samples.predicted("tpu7x:4x4x4")
    assert found.peak == 64 * 2 * 1153e12
    read = json.loads(prediction.to_json(found))
    assert read["chips"] == 64
    assert read["bytes_per_chip"] == 2 * found.memory.total
    assert read["predicted_error"] is None


def test_the_terminal_says_that_it_is_a_prediction_and_how_good(found):
    lines = list(text.lines(found))
    assert any(line.startswith("predicted: ") for line in lines)
    assert any("never run on a TPU" in line and "5%" in line for line in lines)
    unknown = text.trust(estimate_samples.predicted("v4:4x4x4"))
    assert "error unknown" in unknown


def test_tables_of_the_terminal_add_up(found):
    lines = list(text.lines(found))
    start = next(i for i, line in enumerate(lines) if line.startswith("where the time"))
    shares = []
    for line in lines[start + 1 :]:
        if not line.endswith("%") or "peak" in line:
            break
        shares.append(float(line.split()[-1].rstrip("%")))
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_flops_are_told_by_component_and_by_what_trains(found):
    lines = list(text.lines(found))
    start = next(i for i, line in enumerate(lines) if line.startswith("FLOPs of a"))
    table = lines[start + 1 : lines.index("", start)]
    names = [line.split()[0] for line in table]
    assert names == [
        "encoder",
        "connector",
        "decoder",
        "attention",
        "unembedding",
        "in",
    ]
    # The sample trains a matrix of the decoder alone.
    assert table[0].endswith("frozen")
    assert table[2].endswith("partly frozen")
    read = json.loads(prediction.to_json(found))
    for name, passes in read["model_flops_by_pass"].items():
        in_all = passes["forward"] + passes["backward"]
        assert in_all == pytest.approx(read["model_flops"][name])
    assert read["model_flops_by_pass"]["attention"]["parameters"] is None


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0567, "56.7 ms"), (1.2345, "1.234 s"), (12, "12.000 s")]
)
def test_durations_of_steps_are_short(seconds, told):
    assert text.duration(seconds) == told
