"""The clocks of a device: its core, and the engines that work beside it."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

CORE = "core"  # runs one instruction after the other


class Label(NamedTuple):
    """What an event is called."""

    name: str
    scope: str


class Event(NamedTuple):
    """Something that an engine did, in one pass of the loops around it."""

    engine: str  # CORE, or one that works beside it
    kind: str  # matmul, attention, elementwise, copies, ...: keys of parts
    start: float  # seconds from the beginning of the step
    seconds: float
    times: float  # passes of the loops around it that took as long
    flops: float
    name: str  # of the instruction
    scope: str  # path of the jax operation; "" where none is named


class Repeat(NamedTuple):
    """A pass of a loop that stands for several, one after the other from `start` on."""

    start: float  # seconds from the beginning of the step
    seconds: float  # of one pass
    passes: int

    @property
    def end(self) -> float:
        return self.start + self.passes * self.seconds


@dataclasses.dataclass
class Timeline:
    """What has happened until `now`; the replay is the one who writes it."""

    now: float = 0.0
    events: list[Event] = dataclasses.field(default_factory=list)
    repeats: list[Repeat] = dataclasses.field(default_factory=list)
    # When each engine is free, and when what was begun will be done, by its name.
    free: dict[str, float] = dataclasses.field(default_factory=dict)
    begun: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)

    def run(
        self, label: Label, kind: str, seconds: float, times: float, flops=0.0
    ) -> None:
        """The core is busy."""
        if seconds > 0:
            self.events.append(
                Event(CORE, kind, self.now, seconds, times, flops, *label)
            )
        self.now += seconds

    def begin(
        self, label: Label, engine: str, kind: str, seconds: float, times: float
    ) -> None:
        """Another engine begins, as soon as it is free, and the core goes on."""
        start = self._occupy(label, engine, kind, seconds, times)
        self.begun[label.name] = (start + seconds, kind)

    def end(self, name: str) -> tuple[float, str]:
        """When what began under this name is done, and its kind; (0, "") if nothing."""
        return self.begun.pop(name, (0.0, ""))

    def block(
        self, label: Label, engine: str, kind: str, seconds: float, times: float
    ) -> float:
        """Another engine works and the core waits for it: the seconds it will wait."""
        start = self._occupy(label, engine, kind, seconds, times)
        return max(0.0, start + seconds - self.now)

    def _occupy(self, label, engine, kind, seconds, times) -> float:
        start = max(self.now, self.free.get(engine, 0.0))
        self.free[engine] = start + seconds
        self.events.append(Event(engine, kind, start, seconds, times, 0.0, *label))
        return start

    def repeat(self, start: float, passes: int) -> None:
        """What happened since `start` happens `passes` times in all."""
        seconds = self.now - start
        self.repeats.append(Repeat(start, seconds, passes))
        skipped = seconds * (passes - 1)
        self.now += skipped
        self.free = {engine: time + skipped for engine, time in self.free.items()}


def of_core(events: Iterable[Event]) -> Iterator[Event]:
    """What the core did; everything else happened beside it."""
    return (event for event in events if event.engine == CORE)
