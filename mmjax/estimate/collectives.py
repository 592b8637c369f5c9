"""How long the collectives of an HLO module take on the links of a TPU."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mmjax import hlo
from mmjax.estimate.topologies import Generation
from mmjax.hlo import Computation, Instruction, Module

EFFICIENCY = 0.90  # of a link's bandwidth
LATENCY = 2e-6  # seconds of each collective


class Found(NamedTuple):
    """A collective and the computation that it stands in."""

    instruction: Instruction
    computation: Computation


class Transfer(NamedTuple):
    """What a collective occupies."""

    seconds: float
    kind: str  # one of hlo.COLLECTIVES
    engine: str  # permutations in one direction don't wait for those in the other


def by_computation(module: Module) -> Mapping[str, Found | None]:
    """The first collective in each computation or in what it calls."""
    found: dict[str, Found | None] = {}

    def of(name: str) -> Found | None:
        if name not in found:
            found[name] = None  # ends a search that comes back here
            found[name] = _search(module.computations[name])
        return found[name]

    def _search(computation: Computation) -> Found | None:
        for instruction in computation.instructions:
            if hlo.without_start(instruction.opcode) in hlo.COLLECTIVES:
                return Found(instruction, computation)
            inner = hlo.called(module, instruction)
            if instruction.opcode in ("call", "async-start"):
                target = hlo.attribute(instruction, "to_apply")
                inner += [target] if target in module.computations else []
            for name in inner:
                below = of(name)
                if below is not None:
                    return below
        return None

    for name in module.computations:
        of(name)
    return found


def transfer(found: Found, generation: Generation, slice_devices: int = 0) -> Transfer:
    """The time of a collective by its bytes, its group and the links it uses.

    Slices have `slice_devices` devices each; 0: there is one slice.
    """
    instruction, computation = found
    kind = hlo.without_start(instruction.opcode)
    sizes = _sizes(instruction, computation, kind)
    members = group(instruction.attributes)
    if len(members) <= 1 and kind != "collective-permute":
        return Transfer(0.0, kind, "ici")
    bandwidth = generation.link_bandwidth * EFFICIENCY / generation.devices_per_chip
    if kind == "collective-permute":
        engine = "ici+" if _goes_up(instruction.attributes) else "ici-"
        return Transfer(sizes[0] / bandwidth + LATENCY, kind, engine)
    slices = len(
        {member // slice_devices for member in members} if slice_devices else [0]
    )
    links = min(links_used(instruction.attributes), 2 * generation.links)
    moved = _moved(kind, *sizes, len(members) // slices)
    if kind != "collective-broadcast":
        moved /= links
    seconds = moved / bandwidth + LATENCY
    if slices == 1:
        return Transfer(seconds, kind, "ici")
    # Over the network each device sends what it holds after the part within its slice.
    sent = _moved(kind, *sizes, slices) / (len(members) // slices)
    return Transfer(seconds + sent / generation.slice_bandwidth, kind, "network")


def _moved(kind: str, bytes_in: float, bytes_out: float, members: int) -> float:
    """Bytes that a device sends in all, over rings of the group's members."""
    others = (members - 1) / max(members, 1)
    if kind == "all-gather":
        return bytes_out * others
    if kind == "reduce-scatter":
        return bytes_in * others
    if kind == "all-reduce":
        return 2 * bytes_in * others
    if kind in ("all-to-all", "ragged-all-to-all"):
        # On a ring a part passes a quarter of the members; larger groups are two rings.
        return bytes_in * (math.sqrt(members) if members > 16 else members) / 4
    return bytes_out


def _sizes(
    instruction: Instruction, computation: Computation, kind: str
) -> tuple[float, float]:
    """Bytes that go in and come out; the result of a start holds both."""
    bytes_in = sum(hlo.size(x.shapes) for x in hlo.operands(computation, instruction))
    arrays = [s for s in instruction.shapes if s.space not in hlo.FLAGS]
    bytes_out = hlo.size(arrays)
    is_start = instruction.opcode.endswith("-start")
    if is_start or (kind == "collective-permute" and instruction.type.startswith("(")):
        least = bytes_in if kind != "all-gather" else 0
        bytes_out = max(bytes_out - bytes_in, least)
    return bytes_in, bytes_out


def links_used(attributes: str) -> int:
    """Links of a device that the compiler's strategy sends over at the same time."""
    colours = re.search(r"colors:(\d+)", attributes)
    if colours:
        return int(colours[1])
    if '"color_strategies"' in attributes:
        text = attributes[attributes.index('"color_strategies"') :]
        rings = re.findall(r'"phase_rings":\[(.*?)\]\}', text)
        used = sum(2 if "BIDIR" in ring else 1 for ring in rings)
        return used or 2
    return 2  # both directions of one axis


def group(attributes: str) -> tuple[int, ...]:
    """The first group of a collective, in any of the ways that XLA writes it."""
    axes = re.search(r"replica_groups=(?:mesh)?\[[^\]]*\]\s*\{([^}]*)\}", attributes)
    if axes and "mesh[" in attributes:
        text = attributes[attributes.index("mesh[") :]
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", text)}
        names = re.findall(r"'(\w+)'", axes[1])
        devices = np.arange(math.prod(sizes.values())).reshape(*sizes.values())
        inside = tuple(slice(None) if name in names else 0 for name in sizes)
        return tuple(np.atleast_1d(devices[inside]).flatten().tolist())
    iota = re.search(
        r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", attributes
    )
    if iota:
        dims = [int(size) for size in iota[3].split(",")]
        order = [int(axis) for axis in iota[4].split(",")] if iota[4] else None
        devices = np.arange(math.prod(dims)).reshape(dims).transpose(order)
        return tuple(devices.reshape(int(iota[1]), int(iota[2]))[0].tolist())
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", attributes)
    return tuple(int(member) for member in listed[1].split(",")) if listed else (0, 1)


def _goes_up(attributes: str) -> bool:
    """Whether most pairs of a permutation send to a device of a higher number."""
    text = re.search(r"source_target_pairs=\{(.*?)\}\}", attributes + "}}")
    pairs = re.findall(r"\{(\d+),(\d+)\}", text[0]) if text else []
    return 2 * sum(int(to) > int(source) for source, to in pairs) > len(pairs)
