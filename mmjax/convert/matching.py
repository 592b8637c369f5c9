"""Which tensor of a checkpoint each parameter is; whatever is left over is said."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mmjax.convert import rules as rules_lib
from mmjax.convert.rules import Rule

_SHOWN = 5  # lines of each kind of problem


class Match(NamedTuple):
    """What is read, and what is left alone because it was allowed."""

    rules: dict[str, Rule]  # by our path
    fresh: list[str]  # our paths that keep fresh values
    unused: list[str]  # their names that nothing reads, allowed by the user
    ignored: list[str]  # their names that the family knows to be of no use here


def match(
    rules: Sequence[Rule],
    ours: Mapping[str, Any],
    theirs: Mapping[str, np.ndarray],
    ignored: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Match:
    """Finds the tensors of our parameters (anything with a shape), or refuses.

    Raises ValueError with a line for each of: a parameter without its tensor, one of
    another shape, a tensor that nothing reads. A path or name that a pattern of
    `allow` matches whole is left alone instead: the parameter stays fresh, the tensor
    is dropped. `ignored` are patterns of names that the family knows to be useless.
    """

    def allowed(name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in allow)

    table = {rule.ours: rule for rule in rules}
    if len(table) < len(rules) or table.keys() - ours.keys():
        odd = sorted(table.keys() - ours.keys()) or "twice the same path"
        raise AssertionError(f"a family's table doesn't fit its model: {odd}")
    misfits = {path: _misfits(path, table.get(path), ours, theirs) for path in ours}
    fresh = [path for path, lines in misfits.items() if lines and allowed(path)]
    lines = [line for path in ours if path not in fresh for line in misfits[path]]
    used = {
        name for path, r in table.items() if path not in fresh for name in r.names()
    }
    left = [name for name in theirs if name not in used]
    known = [n for n in left if any(re.fullmatch(p, n) for p in ignored)]
    partial = {name for path in fresh if path in table for name in table[path].names()}
    unused = [n for n in left if n not in known and (n in partial or allowed(n))]
    lines += [
        f"{name} {list(theirs[name].shape)}: nothing of the model reads it"
        for name in left
        if name not in known and name not in unused
    ]
    if lines:
        raise ValueError(_listed(lines))
    kept = {path: rule for path, rule in table.items() if path not in fresh}
    return Match(kept, fresh, unused, known)


def _listed(lines: list[str]) -> str:
    """The problems by kind, the first of each."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(line.partition(": ")[2][:12], []).append(line)
    shown = []
    for group in kinds.values():
        shown += group[:_SHOWN]
        if len(group) > _SHOWN:
            shown.append(f"... and {len(group) - _SHOWN} more like these")
    advice = "what may stay as it is, name with --allow=PATTERN (a regular expression)"
    return "\n".join([*shown, advice])


def _misfits(
    path: str, rule: Rule | None, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> list[str]:
    """The lines of what keeps a parameter from being read; none where it fits."""
    if rule is None:
        return [f"{path}: is in no checkpoint of this family"]
    return [
        line
        for name in rule.names()
        for line in _misfit(rule, name, ours[path].shape, theirs.get(name))
    ]


def _misfit(rule: Rule, name: str, shape: Any, found: np.ndarray | None) -> list[str]:
    if found is None:
        return [f"{rule.ours}: is missing, looked for {name}"]
    if not jnp.issubdtype(found.dtype, jnp.floating):
        return [f"{rule.ours}: must be of floating point, {name} is {found.dtype}"]
    wanted = rules_lib.their_shape(rule, tuple(shape))
    axis = rules_lib.their_growing_axis(rule, tuple(shape))
    if axis is not None and found.ndim == len(wanted) and found.shape[axis]:
        wanted = list(wanted)
        wanted[axis] = min(wanted[axis], found.shape[axis])
    if found.shape != tuple(wanted):
        return [
            f"{rule.ours}: shape {list(found.shape)} of {name} must be {list(wanted)}"
        ]
    return []
