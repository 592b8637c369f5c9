"""Traces of a few steps of a run, for XProf and TensorBoard."""

import pathlib
import re
from collections.abc import Callable

import jax

from mmjax import processes

FOLDER = "profile"  # in the workdir
NAME = "train"  # of a step in the trace
NONE = range(0)


def steps_of(text: str, steps: int) -> range:
    """The steps that START:STOP names in a run of so many; none for "".

    They are those between START and STOP steps done. Raises ValueError for another form
    and for what lies outside of the run.
    """
    if not text:
        return NONE
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if not found:
        raise ValueError(
            f"--profile_steps={text}: must be START:STOP, as in 100:105 for the five "
            "steps after the first 100"
        )
    start, stop = int(found[1]), int(found[2])
    if not start < stop <= steps:
        raise ValueError(
            f"--profile_steps={text}: START must be less than STOP, and STOP at most "
            f"steps={steps}"
        )
    return range(start, stop)


class Trace:
    """The trace of some steps: of the first process and its devices."""

    def __init__(self, steps: range, workdir: pathlib.Path, say: Callable[[str], None]):
        """`steps` by how many are done before them; NONE asks for no trace."""
        self._steps = steps if processes.first() else NONE
        self._folder, self._say = workdir / FOLDER, say
        self._first: int | None = None  # step of a trace that is being made
        self._last = 0  # step that was taken last

    def step(self, done: int) -> jax.profiler.StepTraceAnnotation:
        """Marks what happens inside as a step, by its number in logs: `done` + 1.

        Cheap where nothing is traced.
        """
        self._last = done + 1
        return jax.profiler.StepTraceAnnotation(NAME, step_num=done + 1)

    def begins(self, done: int) -> bool:
        """Whether a trace should begin before the next step."""
        return self._first is None and done in self._steps

    def ends(self, done: int) -> bool:
        """Whether the trace should end after the last step."""
        return self._first is not None and done not in self._steps

    def begin(self, done: int) -> None:
        """Begins the trace; to be called while the devices have nothing to do."""
        jax.profiler.start_trace(self._folder)
        self._first = done + 1

    def end(self) -> None:
        """Writes the trace that was begun, if any, and tells where it lies.

        What can't be written isn't worth the run.
        """
        if self._first is None:
            return
        first, self._first, self._steps = self._first, None, NONE
        try:
            jax.profiler.stop_trace()
        except (OSError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            self._say(f"profile: nothing written to {self._folder}: {reason}")
            return
        self._say(
            f"profile of steps {first} to {self._last}: {self._folder}; to look at it: "
            f"pip install xprof && xprof --logdir={self._folder}"
        )
