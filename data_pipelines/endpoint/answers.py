"""The journal of answers: lines of JSON by id, each on disk when it is said.

A process may die at any byte: a last line without an end is cut off and asked again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import threading
from collections.abc import Iterator
from types import TracebackType

from data_pipelines.endpoint.chat import Answer


def name(stem: str, model: str, prompt: str) -> str:
    """File name of a journal for a model and a prompt."""
    facts = hashlib.sha256(json.dumps([model, prompt]).encode()).hexdigest()
    return f"{stem}-{facts[:12]}.jsonl"


@contextlib.contextmanager
def disk(folder: pathlib.Path) -> Iterator[None]:
    """A full disk is an error of one line."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{folder}: can't be written ({error.strerror})") from error


class Journal:
    """Answers by id (bytes), kept in a file that one process at a time may open.

    `tokens` are those of all answers, in and out. Raises ValueError where the file is
    in use, can't be written, or has a line that is no answer.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._places: dict[bytes, int] = {}  # where the line of an id begins
        self.tokens = [0, 0]
        self._lock = threading.Lock()
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise ValueError(f"{path}: can't be written ({error.strerror})") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError as error:
            self._file.close()
            raise ValueError(f"{path}: another process is at it") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def add(self, key: bytes, answer: Answer) -> None:
        """Keeps an answer; it is on disk when this returns."""
        line = {"id": key.hex(), "text": answer.text}
        line |= {"in": answer.tokens_in, "out": answer.tokens_out}
        with self._lock:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._note(key, place, answer)

    def get(self, key: bytes) -> str:
        """The text of an id's answer; empty if there is none."""
        with self._lock:
            if key not in self._places:
                return ""
            self._file.seek(self._places[key])
            return _parse(self._file.readline())[1].text

    def _read(self) -> None:
        self._file.seek(0)
        place = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                key, answer = _parse(line)
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(
                    f"{self.path}: line {number} is no answer ({error!r}); repair or "
                    "remove it"
                ) from error
            self._note(key, place, answer)
            place += len(line)
        self._file.truncate(place)

    def _note(self, key: bytes, place: int, answer: Answer) -> None:
        if key not in self._places:
            self._places[key] = place
        self.tokens[0] += answer.tokens_in
        self.tokens[1] += answer.tokens_out


def _parse(line: bytes) -> tuple[bytes, Answer]:
    values = json.loads(line)
    answer = Answer(values["text"], values["in"], values["out"])
    return bytes.fromhex(values["id"]), answer
