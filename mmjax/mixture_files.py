"""The two files through which the mixture of a run is changed while it goes on.

Both lie in its workdir, a JSON object a line. Whoever wants a change appends to the
first; the run alone writes the second:

    mixture_requests.jsonl  {"weights": [60, 30, 10], "step": 5000, "asked": "2026-..."}
    mixture_changes.jsonl   {"request": "1f0c6e2a", "outcome": "taken", "at": 4200, ...}

"step" may be absent or null, which is as soon as possible. A request is named by a
digest of its line. What was "taken" up "at" a step has the "step" from which it holds,
its "weights", and what the plan then was ("planned", "capacity"); what was "refused",
the "reason".
"""

import datetime
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax.schedule import Change

REQUESTS, CHANGES = "mixture_requests.jsonl", "mixture_changes.jsonl"


class Request(NamedTuple):
    """Weights that somebody wants from a step on; 0: as soon as possible."""

    weights: tuple[int, ...]
    step: int


def ask(workdir: pathlib.Path, request: Request) -> str:
    """Appends a request; returns its name."""
    line = json.dumps(
        {
            "weights": list(request.weights),
            "step": request.step or None,
            "asked": datetime.datetime.now(datetime.UTC).isoformat(),
        }
    )
    _append(workdir / REQUESTS, line)
    return name(line)


def name(line: str) -> str:
    """What a request is called by."""
    return hashlib.sha256(line.strip().encode()).hexdigest()[:8]


def parse(line: str) -> Request:
    """The request of a line; ValueError where it is none."""
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not a JSON object ({error})") from error
    if not isinstance(values, dict) or not isinstance(values.get("weights"), list):
        raise ValueError('not a JSON object with "weights", a list of integers')
    step = values.get("step") or 0
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise ValueError(f"step {step!r}: must be a whole number, not negative")
    if not all(type(weight) is int for weight in values["weights"]):
        raise ValueError(f"weights {values['weights']}: must be integers")
    return Request(tuple(values["weights"]), step)


def lines(path: pathlib.Path) -> list[str]:
    """The whole lines of a file, none where it isn't there; blank ones left out."""
    if not path.exists():
        return []
    found = path.read_text(encoding="utf-8", errors="replace")
    whole = found[: found.rfind("\n") + 1]
    return [line for line in whole.splitlines() if line.strip()]


def waiting(asked: Sequence[str], handled: set[str]) -> list[str]:
    """The lines of requests that nothing has become of yet."""
    return [line for line in asked if name(line) not in handled]


def outcomes(found: Sequence[str]) -> list[dict[str, Any]]:
    """What became of requests, in order; a line that was cut off is left out."""
    records = []
    for line in found:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def record(workdir: pathlib.Path, outcome: Mapping[str, Any]) -> None:
    """Appends what became of a request; on disk when this returns."""
    _append(workdir / CHANGES, json.dumps(outcome))


def taken(records: Sequence[Mapping[str, Any]]) -> list[Change]:
    """The changes among records, in the order in which they were taken up."""
    return [
        Change(found["request"], found["step"], tuple(found["weights"]))
        for found in records
        if found["outcome"] == "taken"
    ]


def _append(path: pathlib.Path, line: str) -> None:
    """Appends a line, after the end of one that was cut off."""
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        broken = False
        if size:
            file.seek(size - 1)
            broken = file.read(1) != b"\n"
        file.write((b"\n" if broken else b"") + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
