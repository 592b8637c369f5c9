"""From mapped tensors to our parameters on their devices, one shard after the other.

What is copied is the shard that a device keeps, and nothing else: their tensors are
views of files, transposed and reshaped as views.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.convert.rules import Rule, Shape
from mmjax.convert.tensor_reader import Tensors

Piece = Callable[[Any], np.ndarray]  # the numbers in a box of an array


def load(
    rules: Mapping[str, Rule],
    tensors: Tensors,
    wanted: Mapping[str, Any],
    dtype: str = "",
) -> dict[str, jax.Array]:
    """Our parameters by path, shaped and placed as `wanted` (`ShapeDtypeStruct`s).

    In the dtype of their tensors unless `dtype` names another. Every process calls
    this, and reads the shards of its own devices.
    """
    loaded = {}
    for path, rule in rules.items():
        like, kind = wanted[path], np.dtype(jnp.dtype(dtype or _dtype(rule, tensors)))
        loaded[path] = _array(like, _piece(rule, tensors, like.shape, kind))
    return loaded


def _array(like: Any, piece: Piece) -> jax.Array:
    """The array of which `piece` cuts boxes, one after the other.

    (`jax.make_array_from_callback` cuts them all before it places the first.)
    """
    boxes = like.sharding.addressable_devices_indices_map(like.shape)
    shards = []
    for device, box in boxes.items():
        shards.append(jax.device_put(piece(box), device))
        shards[-1].block_until_ready()  # and what was cut is free
    return jax.make_array_from_single_device_arrays(like.shape, like.sharding, shards)


def _dtype(rule: Rule, tensors: Tensors) -> Any:
    """That of their tensors; float32 where layers differ."""
    kinds = {tensors[name].dtype for name in rule.names()}
    return kinds.pop() if len(kinds) == 1 else np.float32


def _piece(rule: Rule, tensors: Tensors, shape: Shape, dtype: np.dtype) -> Piece:
    """Cuts boxes out of a parameter that never exists whole."""
    if rule.layers is None:
        view = _view(rule, tensors[rule.theirs], shape)
        mean = _mean(rule, view, shape)

        def whole(box: tuple[slice, ...]) -> np.ndarray:
            return _grown(rule, view[box], box, shape, mean, dtype)

        return whole
    views = [_view(rule, tensors[name], shape[1:]) for name in rule.names()]

    def stacked(box: tuple[slice, ...]) -> np.ndarray:
        layers = [view[box[1:]] for view in views[box[0]]]
        filled = np.empty((len(layers), *layers[0].shape), dtype)
        for place, layer in enumerate(layers):
            filled[place] = layer
        return filled

    return stacked


def _view(rule: Rule, theirs: np.ndarray, shape: Shape) -> np.ndarray:
    """A tensor of theirs as one layer's parameter of ours, not copied if possible."""
    if rule.part is not None:
        start, _, axis = rule.part
        stop = start + rule.form.shape(shape)[axis]
        theirs = theirs[(slice(None),) * axis + (slice(start, stop),)]
    if rule.grows is not None:
        shape = _with(shape, rule.grows, -1)  # as long as theirs is
    return rule.form.take(theirs, shape)


def _with(shape: Shape, axis: int, length: int) -> Shape:
    return (*shape[:axis], length, *shape[axis + 1 :])


def _mean(rule: Rule, view: np.ndarray, shape: Shape) -> np.ndarray | None:
    """What new entries of the vocabulary start as; None where there are none."""
    if rule.grows is None or view.shape == shape:
        return None
    return view.mean(axis=rule.grows, dtype=np.float32, keepdims=True)


def _grown(
    rule: Rule,
    known: np.ndarray,
    box: tuple[slice, ...],
    shape: Shape,
    mean: np.ndarray | None,
    dtype: np.dtype,
) -> np.ndarray:
    """A box of a parameter, filled up with the mean where theirs has no more."""
    if mean is None or rule.grows is None:
        return np.array(known, dtype, order="C")
    axis = rule.grows
    lengths = tuple(len(range(*s.indices(n))) for s, n in zip(box, shape))
    filled = np.empty(lengths, dtype)
    start = (slice(None),) * axis
    filled[(*start, slice(None, known.shape[axis]))] = known
    across = (*box[:axis], slice(None), *box[axis + 1 :])
    filled[(*start, slice(known.shape[axis], None))] = mean[across]
    return filled
