"""Faults: what is bad among a run's documents, and how much of it a run bears.

A document is bad where its record can't be read as the index says, or where one of its
images can't be decoded. Its positions stay in their row, without loss; so nothing else
in any batch moves.
"""

import collections
from collections.abc import Sequence
from typing import NamedTuple

WINDOW = 10_000  # documents of a source that `data.max_bad_share` looks back on

# Reasons, and what is said of them.
REASONS = {
    "image": "has an image that can't be decoded",
    "unreadable": "can't be read",
    "corrupt": "is corrupt",
    "not_a_record": "is not a record",
    "mismatch": "doesn't match its index",
}


class BadRecordError(ValueError):
    """A record that can't be used, for one of REASONS; its text names shard and record.

    Crosses processes as it is.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return self.message


class Fault(NamedTuple):
    """A chunk without loss: its document is bad."""

    source: int
    document: int
    reason: str  # one of REASONS
    row: int  # of the pool group, among the rows of a share
    segment: int  # from 1, as in the batch


class Limits(NamedTuple):
    """What a run bears of each source."""

    share: float  # of the last WINDOW documents
    in_a_row: int  # documents


class Watch:
    """The last documents of one source, in the order of batches.

    That order doesn't depend on threads or workers, so neither does the document at
    which a limit is passed. A document that is split counts once a part.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._allowed = int(limits.share * WINDOW + 1e-6)
        self._seen = 0
        self._bad: collections.deque[int] = collections.deque()  # of the last WINDOW
        self._in_a_row = 0

    def take(self, documents: int, bad: Sequence[int]) -> tuple[int, str] | None:
        """The next documents, bad at these ascending places among them.

        Returns the place where a limit is passed, and the figures in words.
        """
        for place in bad:
            at = self._seen + place
            follows = bool(self._bad) and self._bad[-1] == at - 1
            self._in_a_row = self._in_a_row + 1 if follows else 1
            self._bad.append(at)
            while self._bad[0] <= at - WINDOW:
                self._bad.popleft()
            words = self._passed(at + 1)
            if words:
                return place, words
        self._seen += documents
        return None

    def _passed(self, seen: int) -> str:
        """The limit that is passed after so many documents, in words."""
        if self._in_a_row > self._limits.in_a_row:
            return (
                f"{self._in_a_row} bad documents in a row, data.max_bad_in_a_row="
                f"{self._limits.in_a_row} allows {self._limits.in_a_row}"
            )
        if len(self._bad) > self._allowed:
            return (
                f"{len(self._bad)} of the last {min(seen, WINDOW)} documents are bad, "
                f"data.max_bad_share={self._limits.share:g} of {WINDOW} allows "
                f"{self._allowed}"
            )
        return ""
