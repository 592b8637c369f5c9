"""What a family of models is: names of its tensors, and its config.json both ways.

`write` says all that a config.json must say for a model of ours, so it also checks what
`read` understood: where a checkpoint's own value is another, the option isn't ours.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from mmjax.config import Decoder, ViT
from mmjax.convert.rules import Rule

Part = TypeVar("Part", ViT, Decoder)
Settings = dict[str, Any]  # a config.json

# Fields that say how a part is computed, not what.
_FREE = ("attention", "remat")


def _nothing(part: Any) -> tuple[str, ...]:
    del part
    return ()


@dataclasses.dataclass(frozen=True)
class Family(Generic[Part]):
    """One family, as data where data can say it."""

    kind: str  # model_type
    architecture: str  # the class of transformers that loads it
    part: type[Part]
    fields: Mapping[str, str]  # our field: their key, with the same value
    defaults: Mapping[str, Any]  # what a config.json that is silent means
    constants: Mapping[str, Any]  # keys that have one value in all models of ours
    fixed: Mapping[str, Any]  # our fields that are the same in the whole family
    # Their settings as we would write them, where there are several ways to say it.
    normalize: Callable[[Settings], Settings]
    read: Callable[[Settings], dict[str, Any]]  # our fields that are no plain copies
    write: Callable[[Part], Settings]  # the same, back
    rules: Callable[[Part, Sequence[str]], list[Rule]]  # given a root of their names
    roots: Sequence[Sequence[str]]  # where a checkpoint may keep the part
    ignored: Callable[[Part], Sequence[str]] = _nothing  # patterns of useless names
    # Keys that export says and import doesn't mind.
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(
    family: Family[Part],
    settings: Settings,
    where: str,
    allow: Sequence[str] = (),
    **more: Any,
) -> Part:
    """Our config of a checkpoint's settings; `more` are fields that it doesn't decide.

    Raises ValueError, naming key and value, for what our models don't have, unless the
    key matches a pattern of `allow`.
    """
    unknown = settings.get("quantization_config")
    if unknown:
        raise ValueError(
            f"{where}: quantization_config={unknown!r}: only checkpoints in floating "
            "point are read"
        )
    said = family.normalize({**family.defaults, **settings})
    missing = [key for key in family.fields.values() if said.get(key) is None]
    if missing:
        raise ValueError(f"{where}: {missing[0]} is missing")
    values = {field: said[key] for field, key in family.fields.items()}
    part = family.part(**{**family.fixed, **values, **family.read(said)})
    problems = [
        f"{where}: {key}={said.get(key)!r}: must be {value!r} for a {family.kind} here"
        for key, value in write(family, part).items()
        if not same(said.get(key, value), value)
        and not any(re.fullmatch(pattern, key) for pattern in allow)
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return dataclasses.replace(part, **more)


def write(family: Family[Part], part: Part) -> Settings:
    """The settings of a part of ours, not yet known to be all of it."""
    copied = {key: getattr(part, field) for field, key in family.fields.items()}
    return {
        "model_type": family.kind,
        **family.constants,
        **copied,
        **family.write(part),
    }


def settings_of(family: Family[Part], part: Part, name: str) -> Settings:
    """The config.json that means this part of ours, called `name` in the config.

    Raises ValueError with every field that the family has no setting for.
    """
    settings = {**family.extra, **write(family, part)}
    problems = differences(
        name, part, read(family, settings, family.kind), f"what {family.kind} means"
    )
    if problems:
        raise ValueError("\n".join(problems))
    return settings


def differences(name: str, part: Any, other: Any, whose: str) -> list[str]:
    """A line a field that differs between two configs of a part."""
    lines = []
    for field in dataclasses.fields(other):
        mine, theirs = getattr(part, field.name), getattr(other, field.name)
        if field.name not in _FREE and not same(mine, theirs):
            lines.append(f"{name}.{field.name}={mine!r}: {whose} is {theirs!r}")
    return lines


def same(left: Any, right: Any) -> bool:
    """Equality that takes 1e-6 for 0.000001, and lists for tuples."""
    if isinstance(left, float) or isinstance(right, float):
        try:
            return math.isclose(left, right, rel_tol=1e-9)
        except TypeError:
            return False
    if isinstance(left, Sequence) and isinstance(right, Sequence):
        if isinstance(left, str) or isinstance(right, str):
            return left == right
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def root(family: Family, part: Any, names: Mapping[str, Any]) -> Sequence[str]:
    """Where this checkpoint keeps the part: the root under which most names are."""

    def hits(root: Sequence[str]) -> int:
        rules = family.rules(part, root)
        return sum(name in names for rule in rules for name in rule.names()[:1])

    return max(family.roots, key=hits)
