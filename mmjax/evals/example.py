"""What the evaluation passes around: an example of a benchmark, and what a model gave.

Readers make examples, the program that runs the model makes outputs, scorers take both.
"""

from typing import Any, NamedTuple


class Example(NamedTuple):
    """One item of a benchmark, in the same form for all of them."""

    id: str  # unique within the task and split
    images: tuple[
        str | bytes, ...
    ] = ()  # paths below the data folder, or file contents
    question: str = ""  # also a context, a statement, an expression to be found
    choices: tuple[str, ...] = ()
    answer: int | None = None  # the right choice; None: open question, or kept secret
    references: tuple[str, ...] = ()  # accepted texts; empty: kept secret
    contexts: tuple[
        str, ...
    ] = ()  # of each choice, where it isn't the question for all
    hint: str = ""
    facts: dict[str, Any] = {}  # noqa: RUF012  what its scorers and exports also need


class Output(NamedTuple):
    """What a model gave for an example: a text, or what it thinks of each choice."""

    text: str = ""  # generated, not yet post-processed
    logprobs: tuple[float, ...] = ()  # of each choice, summed over its tokens, nats
    greedy: tuple[bool, ...] = ()  # whether greedy decoding gives exactly that choice
