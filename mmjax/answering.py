"""Requests of texts and images, answered: batches are made, said and cut into texts."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from data_pipelines import materialize
from data_pipelines.prepare import photos
from data_pipelines.records import Image, Segment, Text
from data_pipelines.tokenizer import Tokenizer
from mmjax import config as config_lib
from mmjax import run_setup
from mmjax.config import Config
from mmjax.generation import layout, speaker
from mmjax.generation.speaker import Asked, Continuations, Generated, Speaker
from mmjax.ops.sampling import Choice


class Request(NamedTuple):
    """A prompt, and what is wanted of it: a text after it, or scores of given ones."""

    parts: tuple[Segment, ...]  # texts and images in reading order
    new_tokens: int = 64  # at most
    temperature: float = 0.0  # 0: always the most likely token
    top_k: int = 0  # of so many most likely tokens; 0: of all
    top_p: float = 1.0  # of the fewest that together are so likely; 1: of all
    seed: int = 0
    stop: tuple[str, ...] = ()  # the text ends before the first of these
    stop_ids: tuple[int, ...] = ()  # tokens that end it as well, and aren't said
    continuations: tuple[str, ...] = ()  # scored instead of saying anything


class Score(NamedTuple):
    """How likely a continuation is after its prompt."""

    text: str
    log_likelihoods: tuple[float, ...]  # of each token, in nats
    greedy: bool  # every token is the most likely one

    @property
    def total(self) -> float:
        return sum(self.log_likelihoods)


class Answer(NamedTuple):
    """What a request got."""

    text: str = ""
    tokens: int = 0  # said up to where the text ends, the stop string included
    # By the "end" of the document, a "stop" string or id, or its "length"; "": it goes
    # on.
    ended: str = ""
    scores: tuple[Score, ...] = ()


class Answerer(NamedTuple):
    """A model that is ready to answer."""

    config: Config
    mesh: Mesh
    tokenizer: Tokenizer
    speaker: Speaker
    weights: Any


def ready(
    config: Config, mesh: Mesh, tokenizer: Tokenizer, params: Any, cache: str = ""
) -> Answerer:
    """The answerer of a model's parameters; `cache` as in `speaker.make`."""
    functions = speaker.make(config.model, mesh, cache)
    return Answerer(config, mesh, tokenizer, functions, functions.prepare(params))


def image(content: str | pathlib.Path | bytes) -> Image:
    """The image of a file, or of a file's content, upright as its camera says.

    ValueError where there is none that can be read.
    """
    name = "image" if isinstance(content, bytes) else f"image {content}"
    if not isinstance(content, bytes):
        try:
            content = pathlib.Path(content).read_bytes()
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from error
    try:
        return photos.upright(content)
    except Exception as error:
        raise ValueError(f"{name}: can't be decoded") from error


def check(config: Config, tokenizer: Tokenizer, request: Request) -> int:
    """The positions of a request's prompt; ValueError where it can't be answered.

    Nothing is decoded or computed for that.
    """
    for name, good, rule in (
        ("new_tokens", request.new_tokens >= 1, "must be at least 1"),
        ("temperature", 0 <= request.temperature < np.inf, "must be 0 or more"),
        ("top_k", 0 <= request.top_k < 2**31, "must be 0 or more"),
        ("top_p", 0 < request.top_p <= 1, "must be above 0 and at most 1"),
        ("seed", 0 <= request.seed < 2**32, "must be in 0 to 2^32 - 1"),
        ("stop", all(request.stop), "must hold no empty string"),
        (
            "stop_ids",
            all(0 <= one < tokenizer.vocab_size for one in request.stop_ids),
            f"must be ids of the tokenizer, 0 to {tokenizer.vocab_size - 1}",
        ),
        ("continuations", all(request.continuations), "must hold no empty string"),
    ):
        if not good:
            raise ValueError(f"{name}={getattr(request, name)}: {rule}")
    used = positions(config, tokenizer, request.parts)
    more = room(tokenizer, request)
    what = "continuation's tokens" if request.continuations else "new_tokens"
    if used + more > config.data.row_tokens:
        raise ValueError(
            f"the prompt's {used} positions and {more} {what} are {used + more}: a row "
            f"has {config.data.row_tokens} (data.row_tokens)"
        )
    return used


def room(tokenizer: Tokenizer, request: Request) -> int:
    """The positions that a request needs after its prompt."""
    if request.continuations:
        return max(len(tokenizer.encode(text)) for text in request.continuations)
    return request.new_tokens


def positions(config: Config, tokenizer: Tokenizer, parts: Sequence[Segment]) -> int:
    """The positions of a prompt: its begin, texts and images.

    ValueError for more images than a row attends to.
    """
    texts = [len(tokenizer.encode(p.text)) for p in parts if isinstance(p, Text)]
    sizes = np.array([(p.width, p.height) for p in parts if isinstance(p, Image)])
    width, height = sizes.reshape(-1, 2).T
    cost = config_lib.image_cost(config.model, width, height)
    cross = config.model.decoder.cross_attention
    if cross.every and 0 < cross.row_images < cost.slots.sum():
        raise ValueError(
            f"the prompt's images are {cost.slots.sum()} crops: a row attends to "
            f"{cross.row_images} (model.decoder.cross_attention.row_images)"
        )
    return 1 + sum(texts) + int(cost.positions.sum())


def answer(
    answerer: Answerer,
    requests: Sequence[Request],
    watch: Callable[[list[Answer]], None] | None = None,
) -> list[Answer]:
    """Answers requests (all with continuations, or none) as one batch.

    `watch` is shown the answers so far, a few tokens at a time; one that has `ended`
    stays as it is. What it raises ends the batch. ValueError as `check`.
    """
    for request in requests:
        check(answerer.config, answerer.tokenizer, request)
    scored = [bool(request.continuations) for request in requests]
    assert all(scored) or not any(scored)
    return _score(answerer, requests) if scored[0] else _say(answerer, requests, watch)


def settled(answer: Answer, stop: Sequence[str]) -> str:
    """The start of an answer's text that the tokens to come leave as it is.

    Held back are half a letter, whose other bytes come next, and what may be the start
    of one of the `stop` strings.
    """
    if answer.ended:
        return answer.text
    text = answer.text.rstrip("\ufffd")
    starts = (string[:n] for string in stop for n in range(1, len(string)))
    held = max((len(start) for start in starts if text.endswith(start)), default=0)
    return text[: len(text) - held]


class _Laid(NamedTuple):
    """Requests in rows."""

    batch: Any  # on the devices
    lengths_ZR: np.ndarray
    places: list[tuple[int, int]]  # (z, r) of each request


def _lay(answerer: Answerer, requests: Sequence[Request]) -> _Laid:
    """The prompts, on the mesh."""
    shape, config = answerer.mesh.shape, answerer.config
    dealt = layout.deal(len(requests), shape)
    groups = [
        materialize.documents_batch(
            config, answerer.tokenizer, [requests[i].parts for i in held], False
        )
        if held
        else None
        for held in dealt
    ]
    least = 1 if config.model.decoder.cross_attention.every else 0
    row_tokens = config.data.row_tokens
    batch, lengths_ZR = layout.join(groups, shape, row_tokens, least)
    places = [(z, r) for z, held in enumerate(dealt) for r in range(len(held))]
    return _Laid(run_setup.place(answerer.mesh, batch), lengths_ZR, places)


def _say(
    answerer: Answerer,
    requests: Sequence[Request],
    watch: Callable[[list[Answer]], None] | None,
) -> list[Answer]:
    laid = _lay(answerer, requests)
    asked = _asked(laid, requests, answerer.tokenizer.eos)
    room = layout.bucket(int(asked.new_tokens_ZR.max()), layout.LEAST)

    def told(said: Generated) -> list[Answer]:
        return [
            _told(answerer.tokenizer, request, said, place)
            for request, place in zip(requests, laid.places)
        ]

    def look(said: Generated) -> np.ndarray:
        answers, ended_ZR = told(said), np.zeros_like(said.counts_ZR, bool)
        for place, found in zip(laid.places, answers):
            ended_ZR[place] = found.ended == "stop"
        if watch is not None:
            watch(answers)
        return ended_ZR

    looks = look if watch or any(request.stop for request in requests) else None
    return told(
        speaker.speak(
            answerer.speaker, answerer.weights, laid.batch, laid.lengths_ZR, asked,
            room, looks,
        )
    )  # fmt: skip


def _asked(laid: _Laid, requests: Sequence[Request], eos: int) -> Asked:
    """What the rows ask for; rows without a request ask for nothing."""

    def each(name: str, dtype: Any, otherwise: Any) -> Any:
        values = np.full(laid.lengths_ZR.shape, otherwise, dtype)
        for place, request in zip(laid.places, requests):
            values[place] = getattr(request, name)
        return values

    most = layout.bucket(1 + max(len(request.stop_ids) for request in requests))
    stops_ZRA = np.full((*laid.lengths_ZR.shape, most), eos, np.int32)
    for place, request in zip(laid.places, requests):
        stops_ZRA[place][: len(request.stop_ids)] = request.stop_ids
    return Asked(
        each("new_tokens", np.int32, 0),
        stops_ZRA,
        Choice(
            each("temperature", np.float32, 0),
            each("top_k", np.int32, 0),
            each("top_p", np.float32, 1),
            each("seed", np.uint32, 0),
        ),
    )


def _told(
    tokenizer: Tokenizer, request: Request, said: Generated, place: tuple[int, int]
) -> Answer:
    """What the row at `place` has said, and whether that is all."""
    tokens = said.tokens_ZRT[place][: said.counts_ZR[place]]
    found = _cut(tokenizer, request, tokens)
    if found.ended:
        return found
    stop = said.stop_ZR[place]
    if stop >= 0:
        return found._replace(ended="end" if stop == tokenizer.eos else "stop")
    full = found.tokens >= request.new_tokens
    return found._replace(ended="length") if full else found


def _cut(tokenizer: Tokenizer, request: Request, tokens: np.ndarray) -> Answer:
    """The text of tokens up to the first stop string, however tokens divide it.

    It is the text of the fewest tokens that hold a stop string, so it doesn't depend on
    how many more were said.
    """
    ids = tokens.tolist()
    text = tokenizer.decode(ids)
    if not any(stop in text for stop in request.stop):
        return Answer(text, len(ids))
    low, high = 0, len(ids)  # the last count without one, the first with one
    while high - low > 1:
        middle = (low + high) // 2
        text = tokenizer.decode(ids[:middle])
        if any(stop in text for stop in request.stop):
            high = middle
        else:
            low = middle
    text = tokenizer.decode(ids[:high])
    end = min(at for at in map(text.find, request.stop) if at >= 0)
    return Answer(text[:end], high, "stop")


def _score(answerer: Answerer, requests: Sequence[Request]) -> list[Answer]:
    """The prompts are read once, their continuations follow packed in one row each."""
    laid = _lay(answerer, requests)
    texts = [
        [answerer.tokenizer.encode(text) for text in request.continuations]
        for request in requests
    ]
    packed = _packed(laid, texts)
    read = answerer.speaker.read(answerer.weights, laid.batch, laid.lengths_ZR)
    found = answerer.speaker.score(answerer.weights, *read, packed)
    nll_ZRT, hit_ZRT = np.asarray(found.nll_ZRT), np.asarray(found.hit_ZRT)
    answers = []
    for place, request in zip(laid.places, requests):
        scores = []
        for number, text in enumerate(request.continuations, 1):
            here_T = packed.segments_ZRT[place] == number
            likely = tuple((-nll_ZRT[place][here_T]).tolist())
            scores.append(Score(text, likely, bool(hit_ZRT[place][here_T].all())))
        answers.append(Answer(scores=tuple(scores)))
    return answers


def _packed(laid: _Laid, texts: Sequence[Sequence[list[int]]]) -> Continuations:
    """The tokens of continuations, those of a prompt in its row."""
    most = max(sum(map(len, row)) for row in texts)
    shape = (*laid.lengths_ZR.shape, layout.bucket(most, layout.LEAST))
    tokens, segments, offsets = (np.zeros(shape, np.int32) for _ in range(3))
    for place, row in zip(laid.places, texts):
        at = 0
        for number, ids in enumerate(row, 1):
            here = (*place, slice(at, at + len(ids)))
            tokens[here], segments[here] = ids, number
            offsets[here] = np.arange(len(ids))
            at += len(ids)
    return Continuations(tokens, segments, offsets)
