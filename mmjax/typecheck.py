"""Checks a config's fields by name and type, and finds the field that was meant."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterator

from mmjax.config import Config


def check(config: Config) -> None:
    """Raises ValueError, one line a problem, where the tree isn't what `Config` says.

    A config file is Python: nothing else stops it from assigning to a field that
    doesn't exist, or a string to a number.
    """
    problems = list(_problems(config, Config, "config"))
    if problems:
        raise ValueError("\n".join(problems))


def _problems(value: object, kind: typing.Any, path: str) -> Iterator[str]:
    """Yields a line for everything in `value` that isn't of the annotated `kind`."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, typing.cast(type, kind)):
            yield f"{path}={value!r}: must be a {_name(kind)}"
            return
        kinds = typing.get_type_hints(kind)
        for stray in sorted(set(vars(value)) - set(kinds)):
            yield unknown_field(f"{path}.{stray}")
        for name, field_kind in kinds.items():
            yield from _problems(getattr(value, name), field_kind, f"{path}.{name}")
    elif typing.get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            yield f"{path}={value!r}: must be a tuple"
            return
        for place, element in enumerate(value):
            yield from _problems(element, typing.get_args(kind)[0], f"{path}[{place}]")
    elif not _is(value, kind):
        yield f"{path}={value!r}: must be {_name(kind)}"


def _is(value: object, kind: type) -> bool:
    """Whether a value is of a plain type; an int is a float, a bool is no number."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _name(kind: typing.Any) -> str:
    return kind.__name__


def fields(kind: typing.Any = Config, path: str = "config") -> Iterator[str]:
    """Yields the path of every field that holds a value.

    Such as config.optim.peak_lr, and config.data.sources[].name inside tuples.
    """
    for name, field_kind in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(field_kind):
            yield from fields(field_kind, f"{path}.{name}")
            continue
        yield f"{path}.{name}"
        for element in typing.get_args(field_kind)[:1]:
            if dataclasses.is_dataclass(element):
                yield from fields(element, f"{path}.{name}[]")


def override_problem(path: str) -> str:
    """What is wrong with overriding the field at `path`; "" where nothing is."""
    plain = re.sub(r"\[\d+\]", "[]", path)
    known = list(fields())
    inside = [field for field in known if field.startswith((plain + ".", plain + "["))]
    if plain in known:
        return ""
    if inside:
        return f"{path}: has fields of its own; set one of them, such as {inside[0]}"
    return unknown_field(path)


def unknown_field(path: str) -> str:
    """The line that says that a field doesn't exist, with the one probably meant."""
    parent, _, name = path.rpartition(".")
    plain = re.sub(r"\[\d+\]", "[]", parent)
    known = [field.rpartition(".") for field in fields()]
    siblings = [last for above, _, last in known if above == plain]
    close = difflib.get_close_matches(name, siblings, n=1)
    if close:
        return f"{path}: no such field; did you mean {parent}.{close[0]}?"
    elsewhere = {last: f"{above}.{last}" for above, _, last in reversed(known)}
    close = difflib.get_close_matches(name, elsewhere, n=1)
    if close:
        return f"{path}: no such field; did you mean {elsewhere[close[0]]}?"
    close = difflib.get_close_matches(path, elsewhere.values(), n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"{path}: no such field{meant}"
