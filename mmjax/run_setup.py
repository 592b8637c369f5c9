"""Everything that a run needs before its first step, and that stays as it is."""

import functools
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

import mmjax
from data_pipelines import faults, lessons, limits
from data_pipelines import pipeline as pipelines
from data_pipelines.batches import Pipeline
from data_pipelines.prepare import sample_world
from mmjax import config as config_lib
from mmjax import flops, journal, metrics, optim, processes, sharding, step, validation
from mmjax.batch import Batch, Share
from mmjax.config import Config
from mmjax.feed import Feed
from mmjax.models import backends, vlm
from mmjax.models.vlm import Model

log = logging.getLogger(__name__)

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


class Stream(NamedTuple):
    """A pipeline, and how its batches get onto this mesh."""

    pipeline: Pipeline
    mesh: Mesh
    share: Share  # of every batch, that this process holds
    shapes: Batch  # of the global batches
    counts: bool  # whether this process counts what stands in its rows

    def place(self, batch: Batch) -> Batch:
        """Global arrays of this process's share of a batch."""
        return sharding.to_device(batch, self.share, self.mesh, self.shapes)

    def feed(self, start: int, stop: int) -> Feed:
        """Placed batches [start, stop), made ahead."""
        return Feed(self.pipeline.batches(start, stop, self.share), self.place)

    def batches(self) -> Iterator[Batch]:
        """All placed batches of a finite pipeline."""
        feed = self.feed(0, self.pipeline.steps)
        try:
            for _ in range(self.pipeline.steps):
                yield feed.take(lambda: True)[0]
        finally:
            feed.close()


class Run(NamedTuple):
    """What a run consists of, besides the state that it changes."""

    config: Config
    workdir: pathlib.Path
    mesh: Mesh
    model: Model
    train: Stream
    trainable: frozenset[str]  # paths of parameters

    @property
    def sources(self) -> list[str]:
        return [source.name for source in self.config.data.sources]


def set_up(
    config: Config,
    workdir: pathlib.Path,
    known: Mapping[str, Any] | None = None,
) -> Run:
    """Opens the data (and makes the sample world), builds mesh and model.

    `known` is what a checkpoint knows of the data's plan. Raises ValueError for all
    that is wrong with data, mesh and patterns of parameters.
    """
    mesh = sharding.make_mesh(validation.resolve_mesh(config, jax.device_count()))
    backends.require(config.model, config.data.row_tokens, mesh)
    model = vlm.build(config.model)
    params = step.abstract_state(model, config, mesh).params
    trainable, _ = optim.partition(params, config.optim.frozen)
    make_sample_world(config)
    opened = pipelines.open(config, plan_cache(config, workdir), known)
    done = known["step"] if known else 0
    for warning in limits.check(opened.plan, config.data.sources, done):
        log.warning(warning)
    lessons.check(opened.plan, config, done)
    train = stream(config, mesh, opened)
    return Run(config, workdir, mesh, model, train, frozenset(optim.flatten(trainable)))


def place(mesh: Mesh, batch: Batch) -> Batch:
    """A batch that every process has whole, on a mesh."""
    groups, rows = batch.tokens_ZRT.shape[:2]
    whole = Share((0, groups), (0, rows), (0, batch.real_ZC.shape[1]))
    return sharding.to_device(batch, whole, mesh, batch)


def make_sample_world(config: Config) -> None:
    """Makes the sample world where it is wanted: one process, the others wait."""
    if not config.data.sample_world.enabled:
        return
    if processes.first():
        sample_world.ensure(config.data.root, config.data.sample_world)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("sample world")


def plan_cache(config: Config, workdir: pathlib.Path) -> pathlib.Path:
    """The folder of plans: as configured, beside the data, or else in the workdir."""
    if config.data.cache:
        return pathlib.Path(config.data.cache)
    if os.access(config.data.root, os.W_OK):
        return pathlib.Path(config.data.root) / ".plans"
    return workdir / "plans"


def stream(config: Config, mesh: Mesh, opened: Pipeline) -> Stream:
    """The pipeline of a run, or a finite one with its own capacity, on a mesh."""
    data = config.data
    groups = data.rows_per_batch // data.rows_per_pool
    held = sharding.share(mesh, groups, data.rows_per_pool, opened.capacity)
    shapes = sharding.batch_shapes(config, opened.capacity)
    counts = processes.counts(mesh, groups, data.rows_per_pool)
    return Stream(opened, mesh, held, shapes, counts)


def work(model: config_lib.Model, opened: Pipeline, number: int) -> flops.Work:
    """The exact work of batch `number`: images and chunks that were planned."""
    done = flops.planned(opened.plan.rows_of(number), model.decoder.window)
    cross = model.decoder.cross_attention
    if not cross.every:
        return done
    return done._replace(sights=opened.sights(number, cross.images))


def cost(run: Run, number: int, waited: float) -> journal.Cost:
    """FLOPs and counts of batch `number`, which came after `waited` seconds.

    FLOPs are exact, of what was planned.
    """
    plan = run.train.pipeline.plan
    done = work(run.config.model, run.train.pipeline, number)
    spent = flops.step(run.config.model, done, run.trainable)
    counts = by_source(plan.step_counts(number), run.sources)
    return journal.Cost(waited, sum(spent.values()), counts, _faults(run, number))


def _faults(run: Run, number: int) -> dict[str, Any]:
    """The bad documents of a batch that was taken, {reason: counts over sources}."""
    found = run.train.pipeline.faults_of(number) if run.train.counts else {}
    table = [[found.get(s, {}).get(r, 0) for s in run.sources] for r in faults.REASONS]
    return dict(zip(faults.REASONS, processes.sums(np.array(table, np.int32))))


def by_source(
    counts: Mapping[str, np.ndarray], sources: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{what: count of each source} turned into {source: {what: count}}."""
    return {
        source: {what: values[place].item() for what, values in counts.items()}
        for place, source in enumerate(sources)
    }


def peak(mesh: Mesh) -> float | None:
    """Peak FLOP/s of all devices of a mesh; None where it isn't known."""
    device = mesh.devices.flat[0]
    one = flops.peak(device.device_kind)
    return one * mesh.size if one else None


def resolved(run: Run) -> dict[str, Any]:
    """The config as it came out, with what it ran on: fit for JSON."""
    values = config_lib.to_dict(run.config)
    values["mesh"] = dict(run.mesh.shape)
    values["data"]["pool_capacity"] = run.train.pipeline.capacity
    return values


def parameters(run: Run) -> dict[str, int]:
    """Parameters of each part of the model: vit, connector, decoder."""
    parts: dict[str, int] = {}
    for path, leaf in optim.flatten(_shapes(run)).items():
        part = path.partition("/")[0]
        parts[part] = parts.get(part, 0) + leaf.size
    return parts


def _shapes(run: Run) -> Any:
    return step.abstract_state(run.model, run.config, run.mesh).params


def device_name(run: Run) -> str:
    """Number and kind of devices, such as "8 x TPU v5p"."""
    return f"{run.mesh.size} x {run.mesh.devices.flat[0].device_kind}"


def headline(run: Run) -> str:
    """Model, devices, kernels and pools of a run in three lines, or a fourth."""
    sizes = {path: leaf.size for path, leaf in optim.flatten(_shapes(run)).items()}
    trained = sum(sizes[path] for path in run.trainable)
    shape = " x ".join(f"{name} {size}" for name, size in run.mesh.shape.items())
    quantized = backends.quantized_told(run.config.model, run.mesh)
    products = "".join(f"{line}\n" for line in quantized)
    return (
        f"{metrics.compact(sum(sizes.values()))} parameters, "
        f"{metrics.compact(trained)} of them trained, on {device_name(run)} "
        f"({shape})\nattention: {backends.told(run.config.model, run.mesh)}\n"
        f"{products}{run.train.pipeline.plan.note}"
    )


def write_config(run: Run) -> None:
    """Writes config.json to the workdir; a reader sees the old one or the new one."""
    if processes.first():
        run.workdir.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"config": resolved(run), **provenance()}, indent=2)
        part = run.workdir / "config.json.part"
        part.write_text(text + "\n")
        os.replace(part, run.workdir / "config.json")


@functools.cache
def provenance() -> dict[str, Any]:
    """The code that runs: its git revision (None outside a repository), versions."""
    versions = {"mmjax": mmjax.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        versions[package] = importlib.metadata.version(package)
    return {"git_revision": _git_revision(), "versions": versions}


def _git_revision() -> str | None:
    """The commit of this code, with a + where files differ from it."""
    here = pathlib.Path(__file__).resolve()
    git = ["git", "-C", str(here.parent)]
    try:
        for command in (
            ["ls-files", "--error-unmatch", here.name],  # not somebody else's folder
            ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
        ):
            done = subprocess.run(
                [*git, *command], capture_output=True, text=True, check=True
            )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
