"""Memory of one device: what a compiled step needs, or what it lacks."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmjax import shortage
from mmjax.estimate.topologies import GIB, Generation
from mmjax.shortage import Lack, Piece


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


_ROW = re.compile(
    r"^ *[\d.]+\w+\( *\d+%\); +([\d.]+)([KMGT]?)i?B;[^;]*;[^;]*; (.*)$", re.MULTILINE
)


def largest(report: str, count: int) -> list[Piece]:
    """The largest temporaries of a step, from the compiler's report of memory use.

    The report's first table is the pool of temporaries in HBM. Several arrays may use
    a piece one after the other; its name are their types.
    """
    table = report.partition("Memory Space: default")[2].partition("\n\n")[0]
    found = [
        Piece(shortage.size(row[1], row[2]), row[3].strip())
        for row in _ROW.finditer(table)
    ]
    return sorted(found, key=lambda each: -each.size)[:count]


def told(lacking: Lack, generation: Generation, pieces: list[Piece]) -> str:
    """One line: what is needed, of what, what is largest, and what may help."""
    there = generation.hbm_bytes if lacking.there is None else lacking.there
    text = (
        f"out of memory: needs {lacking.asked / GIB:.1f} GiB, a {generation.name} "
        f"device has {there / GIB:.1f} GiB to give"
    )
    if pieces:
        text += f"; largest: {pieces[0].size / GIB:.1f} GiB for {pieces[0].name}"
    return text + (
        "; may help: more chips, a larger mesh.fsdp, optim.accumulate, fewer "
        "data.rows_per_batch, remat='full'"
    )
