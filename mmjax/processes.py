"""What processes add up and ask each other while nobody waits, and who counts what."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax import sharding


def sums(values: np.ndarray) -> Sequence[Any]:
    """The rows of an integer array [K, ...], each summed over all processes.

    Every process calls this with its own, equally often. What comes back may still be
    on its way: arrays of the first device of each process.
    """
    if jax.process_count() == 1:
        return tuple(values)
    spread, add = _adder()
    (own,) = spread.addressable_devices
    part = jax.device_put(values[None], own)
    shape = (jax.process_count(), *values.shape)
    return add(jax.make_array_from_single_device_arrays(shape, spread, [part]))


@functools.cache
def _adder() -> tuple[NamedSharding, Callable[[jax.Array], tuple[jax.Array, ...]]]:
    """How an array [processes, K, ...] lies, and what sums it over processes."""
    first = {device.process_index: device for device in reversed(jax.devices())}
    devices = [first[process] for process in range(jax.process_count())]
    mesh = Mesh(np.array(devices), ("process",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    add = jax.jit(lambda parts: tuple(parts.sum(axis=0)), out_shardings=everywhere)
    return NamedSharding(mesh, PartitionSpec("process")), add


def first() -> bool:
    """Whether this is the process that writes what a run leaves."""
    return jax.process_index() == 0


def as_first(values: np.ndarray) -> np.ndarray:
    """What the first process gives, on all of them; each calls this, equally often."""
    if jax.process_count() == 1 or not values.size:
        return values
    return np.asarray(multihost_utils.broadcast_one_to_all(values))


class Poll:
    """Whether any process has a wish: asked after one step, known after the next.

    All processes ask at the same steps. By the time of the answer its sum is done, or
    only behind a step that was to be waited for anyhow.
    """

    def __init__(self):
        self._asked: Any = None  # the sum of wishes, which may still be on its way

    def ask(self, wish: bool) -> None:
        """Tells all processes what this one wishes."""
        (self._asked,) = sums(np.array([wish], np.int32))

    def answer(self) -> bool:
        """Whether any process had the wish, if asked since the last answer."""
        asked, self._asked = self._asked, None
        return asked is not None and bool(jax.device_get(asked))


def counts(mesh: Mesh, groups: int, rows: int) -> bool:
    """Whether this process counts what stands in its rows of a [groups, rows] batch.

    Of those that hold the same rows, as where the tensor axis spans processes, the
    first one does.
    """
    held: dict[int, set[str]] = {}
    spec = NamedSharding(mesh, sharding.ROWS)
    for device, box in spec.devices_indices_map((groups, rows)).items():
        held.setdefault(device.process_index, set()).add(str(box))
    own = jax.process_index()
    return own == min(process for process in held if held[process] == held[own])
