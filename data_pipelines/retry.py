"""Reading again where storage fails for a moment."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

WAITS = (0.5, 2.0, 8.0)  # seconds before each further attempt


def on_os_error(
    function: Callable[[], Value], sleep: Callable[[float], None] = time.sleep
) -> Value:
    """The function's value; after an OSError it is called again, three times.

    The last OSError is raised. Other errors are, at once.
    """
    for wait in WAITS:
        try:
            return function()
        except OSError:
            sleep(wait)
    return function()
