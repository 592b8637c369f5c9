"""From our parameters to tensors of another project, one layer after the other."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mmjax.convert.rules import Rule
from mmjax.convert.tensor_writer import Pending


class _Slice(NamedTuple):
    """What one of our parameters gives to a tensor."""

    rule: Rule
    place: int | None  # on L


def pending(
    rules: Sequence[Rule], params: Mapping[str, Any], dtype: str = ""
) -> list[Pending]:
    """The tensors that the rules name, in the dtype of our parameters or another."""
    slices: dict[str, list[_Slice]] = {}
    for rule in rules:
        places = [None] if rule.layers is None else range(len(rule.layers))
        for name, place in zip(rule.names(), places):
            slices.setdefault(name, []).append(_Slice(rule, place))
    return [_tensor(name, parts, params, dtype) for name, parts in slices.items()]


def _tensor(
    name: str, parts: list[_Slice], params: Mapping[str, Any], dtype: str
) -> Pending:
    parts = sorted(parts, key=lambda p: p.rule.part.start if p.rule.part else 0)
    kind = np.dtype(jnp.dtype(dtype or params[parts[0].rule.ours].dtype))
    axis = parts[0].rule.part.axis if parts[0].rule.part else 0
    shapes = [_shape(part, params) for part in parts]
    whole = list(shapes[0])
    whole[axis] = sum(shape[axis] for shape in shapes)

    def make() -> np.ndarray:
        made = [_put(part, params) for part in parts]
        joined = made[0] if len(made) == 1 else np.concatenate(made, axis)
        return joined.astype(kind)

    return Pending(name, tuple(whole), kind, make)


def _shape(part: _Slice, params: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tuple(params[part.rule.ours].shape)
    return part.rule.form.shape(shape if part.place is None else shape[1:])


def _put(part: _Slice, params: Mapping[str, Any]) -> np.ndarray:
    array = params[part.rule.ours]
    one = array if part.place is None else array[part.place]
    return part.rule.form.put(np.asarray(one))
