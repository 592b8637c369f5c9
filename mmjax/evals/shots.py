"""Few-shot prompts as MM1's: solved examples, drawn anew for each query.

Which ones a query gets follows from the seed and the query's id alone, so a part of a
task, another order or a resumed evaluation asks the same. No shots are truly none: the
query stands alone (Flamingo's "0 shots" are two solved examples without images).
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mmjax.evals import prompts, scoring
from mmjax.evals.example import Example
from mmjax.evals.prompts import Image, Prompt

_TRIES = 100  # draws for each shot before the pool is gone through

Parts = list[str | Image]


class TooLongError(ValueError):
    """An example that doesn't fit the model's context, not even alone."""


class Asked(NamedTuple):
    """A query as it is put to the model."""

    parts: Parts
    shots: tuple[str, ...]  # ids of the solved examples, in the order of the prompt
    dropped: int  # of those drawn, for want of room


class Solved(NamedTuple):
    """An example with the answer that is shown."""

    example: Example
    answer: str


class Pool(NamedTuple):
    """Solved examples to draw from."""

    examples: Sequence[Example]
    same: bool  # they are of the split that is asked

    def allows(self, index: int, query: Example) -> bool:
        """Whether an example may stand before this query.

        Of the same split neither the query itself nor one that shows an image of it;
        where examples have groups (their words mean the same), one of its group.
        """
        other = self.examples[index]
        if other.facts.get("group") != query.facts.get("group"):
            return False
        if not self.same:
            return True
        return other.id != query.id and not set(other.images) & set(query.images)


def pool(examples: Sequence[Example], same: bool) -> Pool:
    """The examples whose answer is known."""
    return Pool([e for e in examples if scoring.known(e)], same)


def draw(pool: Pool, query: Example, count: int, seed: int) -> list[Example]:
    """So many different examples for a query, at random. ValueError for too few."""
    size = len(pool.examples)
    bits = _bits(f"{seed} {query.id}")
    chosen: dict[int, None] = {}  # in the order of drawing
    for _ in range(_TRIES * count if size else 0):
        if len(chosen) == count:
            break
        index = int(bits.random_raw() % size)
        if pool.allows(index, query):
            chosen[index] = None
    if len(chosen) < count:  # of few that are allowed, a shuffle finds all
        order = (
            np.argsort(bits.random_raw(size), kind="stable").tolist() if size else []
        )
        allowed = [i for i in order if i not in chosen and pool.allows(i, query)]
        chosen |= dict.fromkeys(allowed[: count - len(chosen)])
    _require(len(chosen), count, query)
    return [pool.examples[i] for i in chosen]


def nearest(
    pool: Pool,
    query: Example,
    count: int,
    vectors: Float[np.ndarray, "n Y"],
    vector: Float[np.ndarray, " Y"],
) -> list[Example]:
    """The most similar examples, the nearest one last: RICES (arXiv 2109.05014).

    `vectors` are those of the pool's examples (say, an encoder's mean features of their
    images), `vector` is the query's; nearness is their cosine, and of equals the
    earlier one counts as nearer.
    """
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
    cosine = vectors @ vector / np.maximum(lengths, 1e-12)
    order = np.argsort(-cosine, kind="stable").tolist()
    chosen = [i for i in order if pool.allows(i, query)][:count]
    _require(len(chosen), count, query)
    return [pool.examples[i] for i in reversed(chosen)]


def solve(prompt: Prompt, examples: Sequence[Example]) -> list[Solved]:
    """The examples with their own answers."""
    return [Solved(each, prompts.answer(prompt, each)) for each in examples]


def exchange(shots: Sequence[Solved], query: Example, seed: int) -> list[Solved]:
    """The solved examples of a query with each other's answers, at random.

    What they show of the answers' form and frequency stays; what belongs to which is
    lost (arXiv 2202.12837).
    """
    bits = _bits(f"{seed} {query.id} exchanged")
    order = np.argsort(bits.random_raw(len(shots)), kind="stable").tolist()
    answers = [shots[place].answer for place in order]
    return [shot._replace(answer=answer) for shot, answer in zip(shots, answers)]


def ask(
    prompt: Prompt,
    query: Example,
    shots: Sequence[Solved],
    fits: Callable[[Parts], bool],
) -> Asked:
    """The prompt of a query behind its solved examples.

    While it doesn't fit, the first example, furthest from the query, is dropped.
    TooLongError where not even the query fits.
    """
    for dropped in range(len(shots) + 1):
        kept = shots[dropped:]
        parts = [part for shot in kept for part in prompts.solved(prompt, *shot)]
        parts = _joined([*parts, *prompts.fill(prompt, query)])
        if fits(parts):
            return Asked(parts, tuple(shot.example.id for shot in kept), dropped)
    raise TooLongError(f"example {query.id} alone doesn't fit the model's context")


def _bits(name: str) -> np.random.Philox:
    """A stream of random bits of its own under each name."""
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return np.random.Philox(key=int.from_bytes(digest, "little"))


def _require(found: int, count: int, query: Example) -> None:
    if found < count:
        raise ValueError(
            f"example {query.id}: {count} shots are asked for, {found} solved examples "
            "may stand before it"
        )


def _joined(parts: Parts) -> Parts:
    """Texts that follow each other as one, as they were in training."""
    whole: Parts = []
    for part in parts:
        if whole and isinstance(part, str) and isinstance(whole[-1], str):
            whole[-1] += part
        else:
            whole.append(part)
    return whole
