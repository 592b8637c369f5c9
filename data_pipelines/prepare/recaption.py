"""Synthetic captions: a model describes every image of a corpus, beside its own text.

VeCap's recipe (arXiv 2310.07699): the model sees the image and the alternative text and
fuses them. Answers go to a journal, and only when all captions were asked for do the
shards get them; the program can be killed anywhere and run again.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from data_pipelines import records, tokenizer
from data_pipelines.endpoint import answers, asking, chat
from data_pipelines.endpoint.answers import Journal
from data_pipelines.endpoint.asking import Bar, Manner, Question, Tally
from data_pipelines.endpoint.chat import Endpoint
from data_pipelines.prepare import rewording
from data_pipelines.prepare.recipe import SPLITS
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from data_pipelines.tokenizer import Tokenizer

FLAGS = chat.Flags("--endpoint", "--model", "--api_key_env")
CAPTION = "{caption}"  # where the alternative text stands in a prompt
PROMPT = f"""\
Describe this image in one or two plain sentences: what it shows, where, how it looks.
On the web its text is: {CAPTION}
Take names and facts from that text where the image agrees, and nothing else.
Answer with the description alone."""


class Request(NamedTuple):
    """What to caption, and how."""

    output: str  # a prepared folder
    endpoint: Endpoint
    corpus: str = "captions"
    prompt: str = PROMPT
    tokenizer: str = ""  # empty: the prepared folder's
    manner: Manner = Manner()
    limit: int = 0  # only the first so many captions; 0: all
    price_in: float = 0.0  # of a million tokens
    price_out: float = 0.0
    workers: int = 1  # processes that index


def recaption(request: Request, say: Callable[[str], None] = print) -> str:
    """Captions the training documents of a prepared corpus; returns a summary.

    Questions that the journal answers aren't asked again. Raises ValueError where the
    request can't be met, the endpoint refuses or the folder isn't indexed for the
    tokenizer; what is answered until then is kept.
    """
    if CAPTION not in request.prompt:
        raise ValueError(f"--prompt: must say {CAPTION}, where the text is to stand")
    endpoint = chat.check(request.endpoint, FLAGS)
    root = pathlib.Path(request.output)
    folder = root / request.corpus / SPLITS[0]
    reader = ShardReader(folder)
    words = _tokenizer(request, folder)
    stem = f"{request.corpus}.recaption"
    name = answers.name(stem, endpoint.model, request.prompt)
    with answers.disk(root), Journal(root / name) as journal:
        say(f"{len(journal)} answers in {journal.path}")
        total = min(len(reader), request.limit or len(reader))
        questions = _questions(request, reader)
        state = functools.partial(_state, request, journal)
        tally = asking.ask_all(
            endpoint, questions, request.manner, journal, Bar("captions", total, state)
        )
        if not len(journal):
            raise ValueError("; ".join(["not one caption", *tally.lines()]))
        say("writing the shards")
        facts = {
            "model": endpoint.model,
            "prompt_sha256": hashlib.sha256(request.prompt.encode()).hexdigest(),
        }
        manifest = rewording.reword(folder, journal.get, facts, words, request.workers)
        return _summary(manifest, tally, state(tally))


def _tokenizer(request: Request, folder: pathlib.Path) -> Tokenizer:
    """The tokenizer that the folder is indexed for."""
    words = tokenizer.open(request.tokenizer or tokenizer.in_folder(request.output))
    if not list(folder.glob(f"*.index-{words.digest[:12]}.npz")):
        raise ValueError(
            f"{folder}: not indexed for the tokenizer {words.path}; give --tokenizer"
        )
    return words


def _questions(request: Request, reader: ShardReader) -> Iterator[Question]:
    """One for each caption, in record order; ValueError where there are none."""
    found = 0
    for number in range(len(reader)):
        if request.limit and found >= request.limit:
            return
        document = reader.document(number)
        if rewording.is_caption(document):
            found += 1
            yield _question(document, request.prompt)
    if not found:
        raise ValueError(
            f"{reader.directory}: no captions (documents of an image and a text)"
        )


def _question(document: Document, prompt: str) -> Question:
    (image,) = (s.data for s in document.segments if isinstance(s, Image))
    (caption,) = (s.text for s in document.segments if isinstance(s, Text))
    key = records.document_id(document)
    return Question(key, prompt.replace(CAPTION, caption.strip()), image)


def _state(request: Request, journal: Journal, tally: Tally) -> str:
    """What it costs so far, earlier runs included, and how many failed."""
    tokens_in, tokens_out = journal.tokens
    cost = (tokens_in * request.price_in + tokens_out * request.price_out) / 1e6
    spent = f"{tokens_in} tokens in, {tokens_out} out"
    priced = f", cost {cost:.2f}" if request.price_in or request.price_out else ""
    return f"{spent}{priced}, {tally.reasons.total()} failed"


def _summary(manifest: dict, tally: Tally, state: str) -> str:
    made = manifest["extra"]["recaption"]["synthetic"]
    lines = [
        f"{made} of {manifest['records']} documents have a synthetic caption",
        state,
        *tally.lines(),
    ]
    if tally.reasons:
        lines.append("run the same command again to ask for those that failed")
    how = "data.sources[i].synthetic is the share of them that training reads"
    return "\n".join([*lines, how])
