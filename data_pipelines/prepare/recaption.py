"""Synthetic captions: a model describes every image of a corpus, beside its own text.

VeCap's recipe (arXiv 2310.07699): the model sees the image and the alternative text and
fuses them. Answers go to a journal, and only when all captions were asked for do the
shards get them; the program can be killed anywhere and run again.
"""

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tqdm

from data_pipelines import records, shards, tokenizer
from data_pipelines.prepare import answers, chat, own, rewording
from data_pipelines.prepare.answers import Journal
from data_pipelines.prepare.chat import Endpoint, Failure, Later
from data_pipelines.prepare.pace import Pace, Stopped
from data_pipelines.records import Document, Image, Text
from data_pipelines.tokenizer import Tokenizer

CAPTION = "{caption}"  # where the alternative text stands in a prompt
PROMPT = f"""\
Describe this image in one or two plain sentences: what it shows, where, how it looks.
On the web its text is: {CAPTION}
Take names and facts from that text where the image agrees, and nothing else.
Answer with the description alone."""
GIVE_UP = 20  # captions in a row without an answer: the endpoint is out of order


class Request(NamedTuple):
    """What to caption, and how."""

    output: str  # a prepared folder
    endpoint: Endpoint
    corpus: str = "captions"
    prompt: str = PROMPT
    tokenizer: str = ""  # empty: the prepared folder's
    concurrency: int = 8  # questions at a time
    per_minute: float = 600.0  # questions
    tries: int = 6  # of one question
    backoff: float = 1.0  # seconds before the second try, doubled for each further one
    limit: int = 0  # only the first so many captions; 0: all
    price_in: float = 0.0  # of a million tokens
    price_out: float = 0.0
    workers: int = 1  # processes that index


class _Job(NamedTuple):
    """One question."""

    key: bytes  # the document's id
    image: bytes
    caption: str


class _Tally:
    """What became of the questions of a run."""

    def __init__(self) -> None:
        self.reasons: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, str] = {}
        self.in_a_row = 0

    def fail(self, failure: Failure) -> None:
        self.reasons[failure.reason] += 1
        self.examples.setdefault(failure.reason, failure.detail)
        self.in_a_row += 1
        if self.in_a_row >= GIVE_UP:
            raise ValueError(
                f"{GIVE_UP} questions in a row without an answer, the last one: "
                f"{failure.reason} {failure.detail}".rstrip()
            )


def recaption(request: Request, say: Callable[[str], None] = print) -> str:
    """Captions the training documents of a prepared corpus; returns a summary.

    Questions that the journal answers aren't asked again. Raises ValueError where the
    request can't be met, the endpoint refuses or the folder isn't indexed for the
    tokenizer; what is answered until then is kept.
    """
    if CAPTION not in request.prompt:
        raise ValueError(f"--prompt: must say {CAPTION}, where the text is to stand")
    request = request._replace(endpoint=chat.check(request.endpoint))
    root = pathlib.Path(request.output)
    folder = root / request.corpus / own.SPLITS[0]
    reader = shards.ShardReader(folder)
    words = _tokenizer(request, folder)
    name = answers.name(request.corpus, request.endpoint.model, request.prompt)
    with _disk(root), Journal(root / name) as journal:
        say(f"{len(journal)} answers in {journal.path}")
        tally = _ask_all(request, reader, journal)
        if not len(journal):
            raise ValueError("; ".join(["not one caption", *_failures(tally)]))
        say("writing the shards")
        facts = {
            "model": request.endpoint.model,
            "prompt_sha256": hashlib.sha256(request.prompt.encode()).hexdigest(),
        }
        manifest = rewording.reword(folder, journal.get, facts, words, request.workers)
        return _summary(request, manifest, journal, tally)


@contextlib.contextmanager
def _disk(root: pathlib.Path) -> Iterator[None]:
    """A full disk is an error of one line."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{root}: can't be written ({error.strerror})") from error


def _tokenizer(request: Request, folder: pathlib.Path) -> Tokenizer:
    """The tokenizer that the folder is indexed for."""
    words = tokenizer.open(request.tokenizer or tokenizer.in_folder(request.output))
    if not list(folder.glob(f"*.index-{words.digest[:12]}.npz")):
        raise ValueError(
            f"{folder}: not indexed for the tokenizer {words.path}; give --tokenizer"
        )
    return words


def _ask_all(request: Request, reader: shards.ShardReader, journal: Journal) -> _Tally:
    """Asks all that the journal doesn't answer."""
    tally, pace = _Tally(), Pace(request.per_minute)
    ask = functools.partial(_ask, request, pace, journal)
    total = min(len(reader), request.limit or len(reader))
    with (
        concurrent.futures.ThreadPoolExecutor(request.concurrency) as pool,
        tqdm.tqdm(total=total, desc="captions", unit="") as bar,
    ):
        running: set[concurrent.futures.Future[None]] = set()

        def finish(still: int) -> None:
            """Waits until so many questions are still open."""
            nonlocal running
            while len(running) > still:
                first = concurrent.futures.FIRST_COMPLETED
                done, running = concurrent.futures.wait(running, return_when=first)
                for future in done:
                    _count(future, tally)
                    bar.update()
                bar.set_postfix_str(_state(request, journal, tally))

        try:
            for job in _jobs(request, reader):
                if job.key in journal:
                    bar.update()
                    continue
                running.add(pool.submit(ask, job))
                finish(2 * request.concurrency - 1)
            finish(0)
        except BaseException:
            pace.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tally


def _jobs(request: Request, reader: shards.ShardReader) -> Iterator[_Job]:
    """The captions, in record order; ValueError where there are none."""
    found = 0
    for number in range(len(reader)):
        if request.limit and found >= request.limit:
            return
        document = reader.document(number)
        if rewording.is_caption(document):
            found += 1
            yield _job(document)
    if not found:
        raise ValueError(
            f"{reader.directory}: no captions (documents of an image and a text)"
        )


def _job(document: Document) -> _Job:
    (image,) = (s.data for s in document.segments if isinstance(s, Image))
    (caption,) = (s.text for s in document.segments if isinstance(s, Text))
    return _Job(records.document_id(document), image, caption)


def _ask(request: Request, pace: Pace, journal: Journal, job: _Job) -> None:
    """Asks until there is an answer for the journal; the last Failure if there is none.

    A server that says when it wants to be asked again is left alone by all until then.
    """
    prompt = request.prompt.replace(CAPTION, job.caption.strip())
    for number in range(1, request.tries + 1):
        pace.start()
        try:
            journal.add(job.key, chat.ask(request.endpoint, job.image, prompt))
            return
        except Later as later:
            if number == request.tries:
                raise
            if later.wait is not None:
                pace.pause(later.wait)
            else:
                # Spread by the id, so that what failed together isn't tried together.
                pace.sleep(request.backoff * 2 ** (number - 1) * _spread(job.key))


def _spread(key: bytes) -> float:
    """A number between 0.5 and 1.5 that follows from the id."""
    return 0.5 + key[0] / 255


def _count(future: concurrent.futures.Future[None], tally: _Tally) -> None:
    try:
        future.result()
        tally.in_a_row = 0
    except (Stopped, concurrent.futures.CancelledError):
        pass
    except Failure as failure:
        tally.fail(failure)


def _state(request: Request, journal: Journal, tally: _Tally) -> str:
    """What it costs so far, earlier runs included, and how many failed."""
    tokens_in, tokens_out = journal.tokens
    cost = (tokens_in * request.price_in + tokens_out * request.price_out) / 1e6
    spent = f"{tokens_in} tokens in, {tokens_out} out"
    cost = f"{spent}, cost {cost:.2f}" if cost else spent
    return f"{cost}, {tally.reasons.total()} failed"


def _failures(tally: _Tally) -> list[str]:
    """A line for each reason."""
    return [
        f"{count} x {reason}: {tally.examples[reason]}".rstrip(": ")
        for reason, count in sorted(tally.reasons.items())
    ]


def _summary(request: Request, manifest: dict, journal: Journal, tally: _Tally) -> str:
    made = manifest["extra"]["recaption"]["synthetic"]
    lines = [
        f"{made} of {manifest['records']} documents have a synthetic caption",
        _state(request, journal, tally),
        *_failures(tally),
    ]
    if tally.reasons:
        lines.append("run the same command again to ask for those that failed")
    how = "data.sources[i].synthetic is the share of them that training reads"
    return "\n".join([*lines, how])
