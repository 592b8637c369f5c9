"""Where the time of a replayed step goes: by kind, part of the model, operation."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmjax import hlo, scopes
from mmjax.estimate import timeline
from mmjax.estimate.timeline import CORE, Event

KINDS: Mapping[str, str] = {
    "matmul": "matrix products",
    "attention": "attention: kernels, and products of scores and values",
    "elementwise": "elementwise, reductions, slices of stacks",
    "copies": "copies and changes of layout",
    "collectives": "collectives that the core waits for",
    "kernels": "other kernels",
    "vmem_wait": "waiting for copies from HBM",
    "host_wait": "waiting for copies to or from the host",
    "sparsecore_wait": "waiting for the SparseCore",
}

PARTS = ("vit", "second_vit", "connector", "decoder")
AROUND = (scopes.LOSS, scopes.SPLICE)
PROJECTIONS = ("query", "key", "value", "out", "norm_query", "norm_key")


class Component(NamedTuple):
    """A part of the model, or of the step around it."""

    part: str  # one of PARTS, or "loss", "splice", "update", "other"
    piece: str  # "attention", "projections", "mlp", "norms", "loop", ...


class Operation(NamedTuple):
    """Events of one kind that come from the same place of the code."""

    kind: str
    scope: str
    seconds: float
    flops: float


def by_kind(events: Sequence[Event]) -> dict[str, float]:
    """Seconds of the core by KINDS; they add up to the step."""
    found = dict.fromkeys(KINDS, 0.0)
    for event in timeline.of_core(events):
        found[kind_of(event)] += event.seconds * event.times
    return found


def kind_of(event: Event) -> str:
    """The event's key of KINDS, or what an engine beside the core does."""
    if event.kind == "matmul" and component(event.scope).piece == "attention":
        return "attention"
    return event.kind


def by_component(events: Sequence[Event]) -> dict[Component, dict[str, float]]:
    """Seconds by part of the model and by pass (`scopes.direction`), longest first."""
    found: dict[Component, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event in timeline.of_core(events):
        where = component(event.scope)
        found[where][scopes.direction(event.scope)] += event.seconds * event.times
    ordered = sorted(found.items(), key=lambda item: -sum(item[1].values()))
    return {where: dict(passes) for where, passes in ordered}


def component(scope: str) -> Component:
    """The part that an operation belongs to, by its path of modules.

    A fusion has the path of its last operation: neighbours may count to each other.
    """
    names = re.split(r"[/.()]", scope)
    part = next((name for name in names if name in PARTS), "")
    if not part:
        return Component(_outside(scope, names), "")
    if "attention" in names:
        after = names[names.index("attention") + 1 :]
        inside = not any(name in PROJECTIONS for name in after)
        return Component(part, "attention" if inside else "projections")
    for piece in ("mlp", "moe"):
        if piece in names:
            return Component(part, piece)
    if any(name.startswith("norm") for name in names):
        return Component(part, "norms")
    if "while" in names:
        return Component(part, "loop")
    return Component(part, "embed" if "embed" in scope else "rest")


def _outside(scope: str, names: Sequence[str]) -> str:
    part = next((name for name in names if name in AROUND), "")
    if part:
        return part
    if "jvp()" in scope:
        return scopes.LOSS
    if "VLM" in names:
        return scopes.SPLICE
    return "update" if scope.startswith("jit(") else "other"


def heaviest(events: Sequence[Event], count: int) -> list[Operation]:
    """The operations of the core that take longest in all."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    flops: dict[tuple[str, str], float] = defaultdict(float)
    for event in timeline.of_core(events):
        key = kind_of(event), event.scope or event.name
        seconds[key] += event.seconds * event.times
        flops[key] += event.flops * event.times
    longest = sorted(seconds, key=lambda key: -seconds[key])[:count]
    return [Operation(*key, seconds[key], flops[key]) for key in longest]


def of_collectives(events: Sequence[Event]) -> dict[str, float]:
    """Seconds that collectives of each kind take, hidden or not."""
    found: dict[str, float] = defaultdict(float)
    for event in events:
        if event.engine != CORE and event.kind in hlo.COLLECTIVES:
            found[event.kind] += event.seconds * event.times
    return dict(found)


def executed(events: Sequence[Event], kind: str = "") -> float:
    """FLOPs that are executed, recomputation included; of one of KINDS or all."""
    of_kind = (event for event in events if kind in ("", kind_of(event)))
    return sum(event.flops * event.times for event in of_kind)
