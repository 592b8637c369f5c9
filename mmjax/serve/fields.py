"""The JSON of a chat completion, checked field by field, becomes a request."""

import json
import secrets
from typing import Any, NamedTuple

from data_pipelines.records import Image, Text
from mmjax import answering, json_lines
from mmjax.answering import Answerer, Request
from mmjax.generate.chat import Manner
from mmjax.serve import messages, pictures
from mmjax.serve.limits import Limits
from mmjax.serve.problems import Problem, bad

NUMBERS = {
    "temperature": float, "top_p": float, "top_k": int, "seed": int,
    "max_tokens": int, "max_completion_tokens": int,
}  # fmt: skip
OTHERS = ("messages", "model", "stop", "stream", "stream_options", "user")
# What may be asked for only in the way that things are anyway.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "store": (False,),
}
STOPS, STOP_LENGTH = 4, 256  # stop strings, and letters of each
LETTERS = 64  # of a token: no text has so many on average, so it is too long
LARGEST = 1e30  # no temperature reaches it; what isn't a number isn't below it, either


class Asked(NamedTuple):
    """What a client wants."""

    request: Request
    positions: int  # of the prompt
    stream: bool = False  # the text as it is said
    usage: bool = False  # with counts at its end


class Rules(NamedTuple):
    """What a request is read with."""

    answerer: Answerer
    name: str  # of the model
    manner: Manner
    limits: Limits


def read(rules: Rules, body: bytes) -> Asked:
    """The request of a body, complete and checked; raises Problem."""
    fields = _object(body)
    options = fields.get("stream_options", {})
    if not isinstance(options, dict) or not set(options) <= {"include_usage"}:
        raise bad("stream_options", "must be an object with include_usage")
    request = Request(
        (),
        temperature=_number(fields, "temperature", 1.0),
        top_k=_number(fields, "top_k", 0),
        top_p=_number(fields, "top_p", 1.0),
        seed=_number(fields, "seed", secrets.randbits(32)),
        stop=_stop(fields.get("stop")),
    )
    _check_model(rules.name, fields.get("model"))
    pictures_of = _Pictures(rules)
    prompt = messages.prompt(fields.get("messages"), rules.manner, pictures_of.find)
    request, used = _fitted(rules, request._replace(parts=prompt), fields)
    pictures_of.require_decodable()
    stream = _flag(fields, "stream", "stream")
    usage = _flag(options, "include_usage", "stream_options.include_usage")
    return Asked(request, used, stream, usage)


class _Pictures:
    """The images of a request as they are found, in room that they share."""

    def __init__(self, rules: Rules):
        self._rules = rules
        self._found: dict[str, Image] = {}  # by field
        self._room = rules.limits.image_pixels

    def find(self, url: str, param: str) -> Image:
        data = pictures.encoded(url, param, self._rules.limits)
        image = pictures.image(data, param, self._room)
        self._room -= image.width * image.height
        self._found[param] = image
        return image

    def require_decodable(self) -> None:
        """Raises Problem for a damaged one; the only thing here that takes long."""
        for param, image in self._found.items():
            pictures.require_decodable(self._rules.answerer.config, image, param)


def _object(body: bytes) -> dict[str, Any]:
    """The fields, without nulls; none is of a name that isn't known."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad(None, f"the body is not JSON ({str(error)[:100]})") from None
    if not isinstance(fields, dict):
        raise bad(None, "the body must be an object")
    fields = {name: value for name, value in fields.items() if value is not None}
    for name, value in fields.items():
        if name not in (*NUMBERS, *OTHERS, *NEUTRAL):
            raise bad(name[:40], "unsupported", "unsupported_parameter")
        if name in NEUTRAL and value not in NEUTRAL[name]:
            only = " or ".join(json.dumps(one) for one in NEUTRAL[name])
            raise bad(name, f"must be {only}", "unsupported_value")
    return fields


def _number(fields: dict[str, Any], name: str, otherwise: Any) -> Any:
    value, kind = fields.get(name, otherwise), NUMBERS[name]
    whole = json_lines.is_whole(value)
    if not (whole or (kind is float and isinstance(value, float))):
        raise bad(name, f"must be a {'whole ' * (kind is int)}number")
    if kind is float and not abs(value) < LARGEST:
        raise bad(name, "must be a smaller number")
    return kind(value)


def _flag(fields: dict[str, Any], name: str, param: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool | None):
        raise bad(param, "must be true or false")
    return bool(value)


def _stop(value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise bad("stop", "must be a string or a list of strings")
    if len(found) > STOPS or not all(1 <= len(one) <= STOP_LENGTH for one in found):
        rule = f"must be at most {STOPS} strings of 1 to {STOP_LENGTH} characters"
        raise bad("stop", rule)
    return tuple(found)


def _check_model(name: str, asked: Any) -> None:
    if asked is not None and asked != name:
        shown = json.dumps(asked)[:60]
        message = f"model {shown} isn't here: this is {json.dumps(name)}"
        raise Problem(404, message, "model", "model_not_found")


def _fitted(
    rules: Rules, request: Request, fields: dict[str, Any]
) -> tuple[Request, int]:
    """The request with its count of new tokens, and the positions of its prompt.

    Where the client doesn't say how many, it is what there is room for.
    """
    answerer, most = rules.answerer, rules.manner.wanted.new_tokens
    row_tokens = answerer.config.data.row_tokens
    letters = sum(len(s.text) for s in request.parts if isinstance(s, Text))
    if letters > LETTERS * row_tokens:  # not even counted: that would take long
        rule = f"the prompt's {letters} characters: a row has {row_tokens} tokens"
        raise Problem(400, rule, "messages", "context_length_exceeded")
    named = [n for n in ("max_completion_tokens", "max_tokens") if n in fields]
    asked = {_number(fields, name, most) for name in named}
    if len(asked) > 1:
        raise bad("max_tokens", "differs from max_completion_tokens")
    least = request._replace(new_tokens=min(asked, default=1))
    try:
        used = answering.check(answerer.config, answerer.tokenizer, least)
    except ValueError as error:
        raise _unanswerable(error, named[0] if named else None) from None
    if not named:
        least = least._replace(new_tokens=min(most, row_tokens - used))
    return least, used


def _unanswerable(error: ValueError, name: str | None) -> Problem:
    """What `answering.check` says, in the client's words."""
    text = str(error)
    if text.startswith("the prompt's"):
        return Problem(400, text, "messages", "context_length_exceeded")
    param = text.partition("=")[0]
    if param == "new_tokens" and name:
        param, text = name, text.replace("new_tokens", name, 1)
    return Problem(400, text, param)
