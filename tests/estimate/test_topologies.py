"""Names of topologies, and what they stand for."""

import pytest

from mmjax import flops
from mmjax.estimate import topologies

KINDS = {  # as jax calls the devices
    "v4": "TPU v4", "v5e": "TPU v5 lite", "v5p": "TPU v5", "v6e": "TPU v6 lite",
    "tpu7x": "TPU7x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "chips", "devices", "wraps"),
    [
        ("v5p:4x4x8", 128, 128, (True, True, True)),
        ("v5p:2x2x4", 16, 16, (False, False, True)),
        ("v6e:8x8", 64, 64, (False, False, False)),
        ("v5e:16x16", 256, 256, (True, True, False)),
        ("tpu7x:2x2x4", 16, 32, (False, False, True)),
        ("2xv5p:4x4x4", 128, 128, (True, True, True)),
    ],
)
def test_a_name_tells_chips_devices_and_rings(name, chips, devices, wraps):
    found = topologies.parse(name)
    assert (found.chips, found.devices) == (chips, devices)
    assert topologies.wrap(found) == wraps


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("v9:4x4", "v4:4x4x4, v5e:4x4, v5p:4x4x4"),
        ("v5p-256", "not known"),
        ("v5p:8x8", "3 axes"),
        ("v6e:0x8", "positive"),
        ("0xv6e:8x8", "positive"),
    ],
)
def test_a_wrong_name_is_told_what_would_be_right_in_one_line(name, told):
    with pytest.raises(ValueError, match=told) as raised:
        topologies.parse(name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", topologies.GENERATIONS)
def test_peaks_are_those_that_training_compares_with(name):
    generation = topologies.GENERATIONS[name]
    one_device = flops.peak(KINDS[name])
    chip = generation.peak * generation.devices_per_chip
    assert one_device in (generation.peak, chip)  # v4 trains with one device a chip


@pytest.mark.parametrize("name", topologies.GENERATIONS)
def test_the_clock_reproduces_the_peak_in_whole_matrix_units(name):
    generation = topologies.GENERATIONS[name]
    per_cycle = generation.peak / generation.clock
    units = per_cycle / (2 * 128 * 128)
    assert units == pytest.approx(round(units), rel=0.01)
