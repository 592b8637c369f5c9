"""TPU generations as data, and topologies by name such as `v5p:4x4x4`.

Peaks, sizes and bandwidths are Google's published ones. Clocks are those at which the
compiler's cycles reproduce the peak. Calibrations were fitted on published step times:
v5p on two (Llama 2 7B and 70B), v6e on one (Llama 3.1 8B); 1.0 says that none was.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

GIB = 2**30


class Generation(NamedTuple):
    """A kind of TPU; its device, as the compiler has it, is a chip or half of one."""

    name: str
    clock: float  # Hz
    peak: float  # dense bfloat16 FLOP/s
    narrow_peak: float  # likewise of int8, and on tpu7x of float8
    hbm_bytes: float
    hbm_bandwidth: float  # bytes/s
    link_bandwidth: float  # bytes/s of one link, one way
    links: int  # of a chip
    host_bandwidth: float  # bytes/s between host and device, one way
    slice_bandwidth: float  # bytes/s between slices, over the data centre's network
    devices_per_chip: int
    dims: int  # of the torus
    wraps_from: int  # a dimension of so many chips is a ring
    attention: tuple[
        float, float
    ]  # share of peak in kernels of heads of 128, see below
    calibration: float  # what the compiler's cycles are multiplied by
    error: float | None  # share by which times may be off, as judged; None: unknown


# `attention` is assumed for forward and backward kernels: heads of 128 fill half of the
# matrix units of v6e and tpu7x. Bandwidth between slices is nowhere calibrated.
_ALL = (
    Generation(
        "v4", clock=1.05e9, peak=137.5e12, narrow_peak=137.5e12, hbm_bytes=16 * GIB,
        hbm_bandwidth=614e9, link_bandwidth=45e9, links=6, host_bandwidth=8e9,
        slice_bandwidth=3.125e9, devices_per_chip=2, dims=3, wraps_from=4,
        attention=(0.60, 0.55), calibration=1.0, error=None,
    ),
    Generation(
        "v5e", clock=1.5e9, peak=197e12, narrow_peak=394e12, hbm_bytes=16 * GIB,
        hbm_bandwidth=819e9, link_bandwidth=45e9, links=4, host_bandwidth=16e9,
        slice_bandwidth=3.125e9, devices_per_chip=1, dims=2, wraps_from=16,
        attention=(0.60, 0.55), calibration=1.0, error=None,
    ),
    Generation(
        "v5p", clock=1.75e9, peak=459e12, narrow_peak=918e12, hbm_bytes=95 * GIB,
        hbm_bandwidth=2765e9, link_bandwidth=90e9, links=6, host_bandwidth=16e9,
        slice_bandwidth=6.25e9, devices_per_chip=1, dims=3, wraps_from=4,
        attention=(0.60, 0.55), calibration=0.92, error=0.05,
    ),
    Generation(
        "v6e", clock=1.75e9, peak=918e12, narrow_peak=1836e12, hbm_bytes=32 * GIB,
        hbm_bandwidth=1640e9, link_bandwidth=90e9, links=4, host_bandwidth=32e9,
        slice_bandwidth=12.5e9, devices_per_chip=1, dims=2, wraps_from=16,
        attention=(0.40, 0.37), calibration=0.95, error=0.10,
    ),
    Generation(
        "tpu7x", clock=2.2e9, peak=1153e12, narrow_peak=2307e12, hbm_bytes=96 * GIB,
        hbm_bandwidth=3690e9, link_bandwidth=90e9, links=6, host_bandwidth=32e9,
        slice_bandwidth=12.5e9, devices_per_chip=2, dims=3, wraps_from=4,
        attention=(0.45, 0.40), calibration=1.0, error=None,
    ),
)  # fmt: skip
GENERATIONS: Mapping[str, Generation] = {each.name: each for each in _ALL}
WIDE_HEADS = 256, (0.60, 0.55)  # heads that fill any matrix unit, and `attention` then


class Topology(NamedTuple):
    """Chips of one generation: equal slices, each a torus or a part of one."""

    name: str
    generation: Generation
    dims: tuple[int, ...]  # chips of a slice along each axis
    slices: int

    @property
    def chips(self) -> int:
        return self.slices * math.prod(self.dims)

    @property
    def devices(self) -> int:
        return self.chips * self.generation.devices_per_chip


def parse(name: str) -> Topology:
    """The topology of a name such as `v6e:8x8` or, of two slices, `2xv5p:4x4x4`.

    Raises ValueError where there is no such generation, or dimensions don't fit it.
    """
    found = re.fullmatch(r"(?:(\d+)x)?(\w+):(\d+(?:x\d+)*)", name)
    generation = GENERATIONS.get(found[2]) if found else None
    if found is None or generation is None:
        raise ValueError(
            f"--topology={name}: not known; must be like {_examples()} "
            "(chips along each axis), 2xv5p:4x4x4 (two slices) or h100:64 (GPUs)"
        )
    dims = tuple(int(size) for size in found[3].split("x"))
    if len(dims) != generation.dims:
        raise ValueError(
            f"--topology={name}: {generation.name} has {generation.dims} axes, "
            f"as in {generation.name}:{'x'.join('4' * generation.dims)}"
        )
    slices = int(found[1] or 1)
    if not slices or not all(dims):
        raise ValueError(f"--topology={name}: sizes must be positive")
    return Topology(name, generation, dims, slices)


def _examples() -> str:
    return ", ".join(f"{g.name}:{'x'.join('4' * g.dims)}" for g in _ALL)


def wrap(topology: Topology) -> tuple[bool, ...]:
    """Which of the three axes are rings; the compiler presumes an open mesh else."""
    wraps = [size >= topology.generation.wraps_from for size in topology.dims]
    return tuple(wraps + [False] * (3 - len(wraps)))
