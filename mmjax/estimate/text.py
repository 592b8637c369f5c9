"""A prediction as lines for a terminal."""

from collections.abc import Iterator

from mmjax import dry_run, metrics, scopes
from mmjax.estimate import parts
from mmjax.estimate.prediction import HEAVIEST, Prediction, components
from mmjax.estimate.topologies import GIB

PASSES = ("forward", "again", "backward", "update")
SHOWN = 0.005  # share of the step; smaller components are left out


def lines(found: Prediction) -> Iterator[str]:
    """The whole prediction."""
    yield from headline(found)
    yield ""
    yield from _memory(found)
    yield ""
    yield from dry_run.flops_table("FLOPs of a step", found.costs)
    yield ""
    yield from _kinds(found)
    yield ""
    yield from _components(found)
    yield ""
    yield from _heaviest(found)
    yield from (f"note: {note}" for note in found.replay.notes)


def headline(found: Prediction) -> Iterator[str]:
    """What most people want to know, and how much to trust it."""
    topology, work = found.topology, found.workload.work
    mesh = " x ".join(f"{name} {size}" for name, size in found.mesh.items())
    yield f"{topology.name}: {topology.chips} chips, mesh {mesh}"
    yield (
        f"predicted: {duration(found.seconds)} a step, MFU {found.mfu:.1%}, "
        f"{metrics.compact(work.positions / found.seconds)} tokens/s, "
        f"{metrics.compact(work.images / found.seconds)} images/s"
    )
    price = "" if found.price is None else f", {found.price:,.0f} for the chips"
    yield f"{found.steps:,} steps: {metrics.clock(found.hours * 3600)}{price}"
    yield trust(found)
    yield f"work: {found.workload.note}"
    yield f"attention: {found.attention}"


def duration(seconds: float) -> str:
    """The time of a step: 1.234 s or 56.7 ms."""
    return f"{seconds:.3f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def trust(found: Prediction) -> str:
    """What the prediction is worth."""
    generation = found.topology.generation
    if generation.error is None:
        return f"never compared with a real step on {generation.name}: error unknown"
    return (
        f"never run on a TPU; by comparison with published steps on {generation.name}, "
        f"may be off by {generation.error:.0%}"
    )


def _memory(found: Prediction) -> Iterator[str]:
    generation = found.topology.generation
    total = found.memory.total
    rows = [(name, _gib(size)) for name, size in found.memory._asdict().items()]
    share = f"{total / generation.hbm_bytes:.0%} of {_gib(generation.hbm_bytes)}"
    rows.append(("in all", f"{_gib(total)}, {share}"))
    device = "half a chip" if generation.devices_per_chip == 2 else "one chip"
    yield f"memory of {device}:"
    width = max(len(name) for name, _ in rows)
    yield from (f"  {name:{width}}  {size}" for name, size in rows)
    yield from (
        f"  of temporaries: {_gib(each.size)} for {each.name}"
        for each in found.largest[:3]
    )


def _gib(size: float) -> str:
    return f"{size / GIB:.2f} GiB"


def _kinds(found: Prediction) -> Iterator[str]:
    events, peak = found.replay.events, found.topology.generation.peak
    kinds, rows = parts.by_kind(events), []
    for kind, seconds in kinds.items():
        if seconds:
            share = f"{seconds / found.seconds:.1%}"
            rows.append((parts.KINDS[kind], f"{1000 * seconds:.1f}", share))
    yield from dry_run.table(("where the time goes", "ms", "share"), rows)
    executed = parts.executed(events)
    for kind, name in (("matmul", "matrix products"), ("attention", "attention")):
        if kinds[kind]:
            reached = parts.executed(events, kind) / (kinds[kind] * peak)
            yield f"{name}: {reached:.0%} of peak"
    hidden = parts.of_collectives(events)
    for kind, seconds in hidden.items():
        yield f"{kind}: {1000 * seconds:.1f} ms in all, hidden or not"
    yield f"{metrics.compact(executed)}FLOP executed a device, recomputed ones included"


def _components(found: Prediction) -> Iterator[str]:
    rows = []
    for name, passes in components(found).items():
        total = sum(passes.values())
        if total >= SHOWN * found.seconds:
            cells = [f"{1000 * passes.get(each, 0.0):.1f}" for each in PASSES]
            share = f"{total / found.seconds:.1%}"
            rows.append((name, *cells, f"{1000 * total:.1f}", share))
    yield from dry_run.table(
        ("part of the model, ms", *PASSES, "in all", "share"), rows
    )


def _heaviest(found: Prediction) -> Iterator[str]:
    peak = found.topology.generation.peak
    yield "heaviest operations:"
    for each in parts.heaviest(found.replay.events, HEAVIEST):
        speed = f", {each.flops / (each.seconds * peak):.0%} of peak"
        yield (
            f"  {1000 * each.seconds:8.1f} ms {each.seconds / found.seconds:6.1%}  "
            f"{each.kind}{speed if each.flops else ''}: {scopes.short(each.scope)}"
        )
