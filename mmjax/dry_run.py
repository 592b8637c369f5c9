"""What a run would be, without running it: `python -m mmjax.train ... --dry_run`."""

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh

from data_pipelines import lessons, read_ahead
from data_pipelines import pipeline as pipelines
from data_pipelines.batches import Pipeline
from data_pipelines.plan import SourcePlan
from mmjax import config as config_lib
from mmjax import flops, inventory, metrics, run_setup, sharding, step, validation
from mmjax.batch import Share
from mmjax.config import Config
from mmjax.models import backends, vlm

COMPILED_UP_TO = 100_000_000  # parameters; larger models take too long for a look
BATCHES = 16  # whose FLOPs are averaged
MM1_IMAGES = 16  # images a row in MM1, and one pool a row
COUNTS = ("rows", "documents", "text_tokens", "image_tokens", "loss_tokens", "images")


def show(config: Config) -> None:
    """Prints config, parameters, mixture, FLOPs and memory of a run.

    Raises ValueError for what is wrong with patterns of parameters and the mesh. Data
    that aren't there are said to be missing, and the rest is printed.
    """
    for line in lines(config):
        print(line, flush=True)


def lines(config: Config) -> Iterator[str]:
    """The lines that `show` prints."""
    mesh, mesh_note = _mesh(config)
    backends.require(config.model, config.data.row_tokens, mesh)
    opened, data_note = _open(config)
    rows = inventory.describe(vlm.build(config.model), config, mesh)
    trainable = frozenset(row.path for row in rows if row.trainable)
    kernels = [
        f"attention: {backends.told(config.model, mesh)}",
        *backends.quantized_told(config.model, mesh),
    ]
    resolved = json.dumps(_resolved(config, mesh, opened), indent=2)
    sections: list[tuple[str, Iterable[str]]] = [
        ("config", [resolved]),
        ("parameters", _parameters(rows)),
        ("mesh", [mesh_note, *kernels]),
        ("data", [data_note]),
        ("mixture", _mixture(config, opened) if opened else []),
        ("FLOPs of a step", _flops(config, opened, trainable)),
        ("memory of one device", _memory(config, mesh, opened)),
    ]
    for title, section in sections:
        yield f"\n== {title}"
        yield from section


def _mesh(config: Config) -> tuple[Any, str]:
    """The mesh of this machine, or one of the smallest size that the config allows."""
    devices = jax.device_count()
    try:
        resolved = validation.resolve_mesh(config, devices)
    except ValueError:
        axes = dataclasses.astuple(config.mesh)
        sizes = tuple(1 if size == -1 else size for size in axes)
        validation.resolve_mesh(
            dataclasses.replace(config, mesh=config_lib.Mesh(*sizes)), math.prod(sizes)
        )
        mesh = AbstractMesh(sizes, sharding.AXES, (AxisType.Auto,) * len(sizes))
        return mesh, f"{_shape(mesh)}: not this machine's {devices} device(s)"
    mesh = sharding.make_mesh(resolved)
    return mesh, f"{_shape(mesh)}: this machine's {devices} device(s)"


def _shape(mesh: Any) -> str:
    return " x ".join(f"{name} {size}" for name, size in mesh.shape.items())


def _open(config: Config) -> tuple[Pipeline | None, str]:
    """The training data, or why there are none."""
    try:
        opened = pipelines.open(config)
        lessons.check(opened.plan, config)
    except ValueError as error:
        missing = str(error).splitlines()[0]
        if config.data.sample_world.enabled:
            missing += " (the run makes the sample world there)"
        return None, f"not counted: {missing}"
    return opened, opened.plan.note


def _resolved(config: Config, mesh: Any, opened: Pipeline | None) -> dict[str, Any]:
    values = config_lib.to_dict(config)
    values["mesh"] = dict(mesh.shape)
    if opened is not None:
        values["data"]["pool_capacity"] = opened.capacity
    return values


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of columns: the first is aligned to the left, the others to the right."""
    columns = list(zip(header, *rows))
    widths = [max(map(len, column)) for column in columns]
    for row in (header, *rows):
        first, *rest = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths))
        )
        yield "  ".join([first, *rest]).rstrip()


def _parameters(rows: Sequence[inventory.Parameter]) -> Iterator[str]:
    yield from table(
        ("path", "shape", "numbers", "sharding", "trained", "decayed", "rate"),
        [
            (
                row.path,
                "x".join(map(str, row.shape)),
                f"{row.numbers:,}",
                ",".join(_axis(entry) for entry in row.spec) or "-",
                "yes" if row.trainable else "no",
                "yes" if row.decayed else "no",
                f"{row.multiplier:g}" if row.trainable else "-",
            )
            for row in rows
        ],
    )
    parts = {row.path.partition("/")[0] for row in rows}
    for part in (*sorted(parts), ""):
        sizes = [row.numbers for row in rows if row.path.startswith(part)]
        yield f"{part or 'in all'}: {sum(sizes):,}"


def _axis(entry: Any) -> str:
    if entry is None:
        return "*"
    return "+".join(entry) if isinstance(entry, tuple) else entry


def _mixture(config: Config, opened: Pipeline) -> Iterator[str]:
    """What the whole run draws from each source, exactly."""
    plan, data = opened.plan, config.data
    counts = plan.counts(config.steps)
    yield from table(
        ("source", "share of rows", *COUNTS, "epochs"),
        [
            (
                source.name,
                f"{counts['rows'][place] / counts['rows'].sum():.4%}",
                *(f"{int(counts[what][place]):,}" for what in COUNTS),
                f"{counts['epochs'][place]:.3f}",
            )
            for place, source in enumerate(data.sources)
        ]
        + [("in all", "", *(f"{int(counts[what].sum()):,}" for what in COUNTS), "")],
    )
    slots = config.steps * plan.groups_per_batch * plan.capacity
    positions = config.steps * data.rows_per_batch * data.row_tokens
    pools, rows = counts["slots"].sum() / slots, counts["positions"].sum() / positions
    yield f"pool fill {pools:.1%} of {plan.capacity} slots a group"
    yield f"token fill {rows:.1%} of the rows' positions"
    yield from _mm1_rows(config, opened, counts["rows"])


def _mm1_rows(config: Config, opened: Pipeline, rows: np.ndarray) -> Iterator[str]:
    """What as many rows would hold at MM1's limit of images a row."""
    if config_lib.grids_of(config.model.preprocessing):
        return  # MM1 pre-trains without tiles
    if config.data.row_tokens // config_lib.crop_positions(config.model) <= MM1_IMAGES:
        return
    yield f"with MM1's own rows (at most {MM1_IMAGES} images each, a pool a row):"
    for plan, count in zip(opened.plan.sources, rows.tolist()):
        if plan is None or not count:
            continue
        limits = plan.layout._replace(max_images=MM1_IMAGES)
        other = SourcePlan(plan.name, plan.documents, limits, None)
        sums = other.stats(0, count)
        found = f"{sums['documents']:,} documents, {sums['images']:,} images"
        yield f"  {plan.name}: {found}"


def _flops(
    config: Config, opened: Pipeline | None, trainable: frozenset[str]
) -> Iterator[str]:
    """FLOPs by component: of planned batches, else of an image and of a full row."""
    model, works = config.model, {}
    tiled = bool(config_lib.grids_of(model.preprocessing))
    if opened is None:
        works["one crop" if tiled else "one image"] = flops.Work(1, 0, 0)
        full = flops.work(0, [config.data.row_tokens], model.decoder.window)
        works[f"one row of {config.data.row_tokens} positions, one document"] = full
    else:
        batches, mean = mean_work(config, opened)
        works[f"mean of the first {batches} batches, exact"] = mean
    for name, work in works.items():
        yield from flops_table(name, flops.costs(model, work, trainable))


def flops_table(name: str, costs: Mapping[str, flops.Cost]) -> Iterator[str]:
    """FLOPs by component, without what is recomputed, under what they are of."""
    there = {part: cost for part, cost in costs.items() if cost.forward}
    whole = flops.Cost(*map(sum, zip(*there.values())))
    rows = [
        (
            part,
            *map(metrics.compact, (cost.forward, cost.backward, cost.total)),
            f"{cost.total / whole.total:.1%}",
            "" if cost is whole else cost.trains,
        )
        for part, cost in [*there.items(), ("in all", whole)]
    ]
    yield from table(
        (name, "forward", "backward", "in all", "share", "parameters"), rows
    )


def mean_work(config: Config, opened: Pipeline) -> tuple[int, flops.Work]:
    """The number of batches that are looked at, and the mean of their work."""
    batches = min(BATCHES, config.steps)
    planned = [run_setup.work(config.model, opened, n) for n in range(batches)]
    mean = flops.Work(*(sum(column) / batches for column in zip(*planned)))
    return batches, mean


def _memory(config: Config, mesh: Any, opened: Pipeline | None) -> Iterator[str]:
    """Bytes of what stays, and of activations where the step can be compiled here."""
    capacity = config.data.pool_capacity or config.data.pool_multiple
    if opened is not None:
        capacity = opened.capacity
    else:
        yield f"(of {capacity} image slots a pool group: the data don't tell yet)"
    model = vlm.build(config.model)
    yield _read_ahead(config, mesh, capacity)
    held = inventory.memory(model, config, mesh, capacity)
    for name, size in held.items():
        yield f"{name:12} {metrics.memory(size)}"
    shapes = step.abstract_state(model, config, mesh)
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes.params))
    if not isinstance(mesh, Mesh):
        yield "temporaries  not known: the mesh is not this machine's"
    elif size > COMPILED_UP_TO:
        yield "temporaries  not known: too large a model to compile for a look"
    else:
        jitted = step.make_train_step(model, config, mesh)
        compiled = jitted.lower(shapes, sharding.batch_shapes(config, capacity))
        size = compiled.compile().memory_analysis().temp_size_in_bytes
        yield f"temporaries  {metrics.memory(size)}, as compiled here"


def _read_ahead(config: Config, mesh: Any, capacity: int) -> str:
    """Host memory of one process for batches: of its own part where that is known."""
    data = config.data
    groups = data.rows_per_batch // data.rows_per_pool
    whose = "process"
    if isinstance(mesh, Mesh):
        share = sharding.share(mesh, groups, data.rows_per_pool, capacity)
    else:
        share = Share((0, groups), (0, data.rows_per_pool), (0, capacity))
        whose = "process that reads whole batches"
    held = read_ahead.held(config, capacity, share)
    apart = f" and {held.groups} pool groups" if held.groups else ""
    return (
        f"{'read-ahead':12} {metrics.memory(held.size)} of host memory for a {whose}: "
        f"{held.batches} batches{apart}"
    )
