"""Memory of one device: what a compiled step needs, or what it lacks."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax.estimate.topologies import GIB, Generation


class Memory(NamedTuple):
    """Bytes of one device, by class."""

    parameters: float
    moments: float
    batch: float
    padding: float  # of those three, to whole tiles
    temporaries: float  # activations and gradients, the most at any time
    program: float  # code, and results that have no room of their own yet

    @property
    def total(self) -> float:
        return sum(self)


def of_step(result: Mapping[str, Any]) -> Memory:
    """The classes of a compiled step, from what the worker tells."""
    held, sizes = result["held"], result["sizes"]
    classes = [float(held[name]) for name in ("parameters", "moments", "batch")]
    results = sizes["output_size_in_bytes"] - sizes["alias_size_in_bytes"]
    return Memory(
        *classes,
        padding=max(0.0, sizes["argument_size_in_bytes"] - sum(classes)),
        temporaries=float(sizes["temp_size_in_bytes"]),
        program=float(sizes["generated_code_size_in_bytes"] + results),
    )


class Allocation(NamedTuple):
    """One piece of memory, which several arrays may use one after the other."""

    size: float  # bytes
    arrays: str  # their types, as the compiler writes them


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
_SHORT = (  # as one version of the compiler says it, and as another does
    r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)",
    r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm",
)
_ROW = re.compile(
    r"^ *[\d.]+\w+\( *\d+%\); +([\d.]+)([KMGT]?)i?B;[^;]*;[^;]*; (.*)$", re.MULTILINE
)


def largest(report: str, count: int) -> list[Allocation]:
    """The largest temporaries of a step, from the compiler's report of memory use.

    The report's first table is the pool of temporaries in HBM.
    """
    table = report.partition("Memory Space: default")[2].partition("\n\n")[0]
    found = [
        Allocation(_bytes(row[1], row[2]), row[3].strip())
        for row in _ROW.finditer(table)
    ]
    return sorted(found, key=lambda each: -each.size)[:count]


def shortage(message: str) -> tuple[float, float] | None:
    """(bytes needed, bytes there) where an error says that memory ran out."""
    found = [re.search(pattern, message) for pattern in _SHORT]
    match = next((each for each in found if each), None)
    if match is None:
        return None
    return _bytes(match[1], match[2]), _bytes(match[3], match[4])


def _bytes(number: str, unit: str) -> float:
    return float(number) * _UNITS[unit]


def told(
    lacking: tuple[float, float], generation: Generation, pieces: list[Allocation]
) -> str:
    """One line: what is needed, of what, what is largest, and what may help."""
    needed, there = lacking
    text = (
        f"out of memory: needs {needed / GIB:.1f} GiB, a {generation.name} device has "
        f"{there / GIB:.1f} GiB to give"
    )
    if pieces:
        text += f"; largest: {pieces[0].size / GIB:.1f} GiB for {pieces[0].arrays}"
    return text + (
        "; may help: more chips, a larger mesh.fsdp, optim.accumulate, fewer "
        "data.rows_per_batch, remat='full'"
    )
