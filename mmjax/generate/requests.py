"""A file of requests, and the file of their answers, which is gone on with.

A request is a line of JSON:

    {"id": "7", "prompt": "<image> Question: What is this? Short answer:",
     "images": ["photos/7.jpg"], "new_tokens": 8, "stop": ["\\n"]}

Only the id is needed. `temperature`, `top_k`, `top_p`, `seed` and `stop_ids` (of the
tokenizer) may stand there too; with `continuations`, these are scored and nothing is
said. Paths of images are relative to the file. Its answer is a line with the id and
`text`, `tokens` and `ended` ("end" of the document, "stop", "length"), or `scores`, or
the `error`.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mmjax import answering, json_lines, prompt_parts
from mmjax.answering import Answer, Answerer, Request

NUMBERS = {
    "new_tokens": int, "temperature": float, "top_k": int, "top_p": float, "seed": int,
}  # fmt: skip
LISTS = ("images", "stop", "continuations")
FIELDS = ("id", "prompt", *LISTS, "stop_ids", *NUMBERS)


class Line(NamedTuple):
    """One line of the file."""

    where: str  # file and number of the line
    id: str
    prompt: str = ""
    images: tuple[str, ...] = ()  # paths
    wanted: Request = Request(())  # all but its parts
    error: str = ""  # what is wrong with the line


class Batching(NamedTuple):
    """How requests are answered."""

    size: int  # requests at a time
    stop: bool  # a request that can't be answered ends it; else its error is recorded


def read(path: str, wanted: Request, stop: bool) -> list[Line]:
    """The requests of a file; what they don't say is as in `wanted`.

    Bad lines come with their error, or with `stop` the first is a ValueError that names
    it. So are ids that come twice, in either case.
    """
    folder, lines, seen = pathlib.Path(path).parent, [], {}
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            line = _line(f"{path}, line {number}", text, wanted, folder)
            if line.error and stop:
                raise ValueError(f"{line.where}: {line.error}")
            if line.id in seen:
                raise ValueError(
                    f"{line.where}: id {line.id} is that of line {seen[line.id]} too"
                )
            seen[line.id] = number
            lines.append(line)
    return lines


def _line(where: str, text: str, wanted: Request, folder: pathlib.Path) -> Line:
    """One request; its error where it is none. Without an id, it has its place's."""
    name = where.rpartition(" ")[2]
    try:
        found = json.loads(text)
    except ValueError as error:
        return Line(where, f"line {name}", error=f"not JSON ({error})")
    problem = _problem(found)
    own = found.get("id") if isinstance(found, dict) else None
    id = str(own) if isinstance(own, str | int) else f"line {name}"
    if problem:
        return Line(where, id, error=problem)
    fields: dict[str, Any] = {n: k(found[n]) for n, k in NUMBERS.items() if n in found}
    names = (*LISTS[1:], "stop_ids")
    fields |= {name: tuple(found[name]) for name in names if name in found}
    images = tuple(str(folder / image) for image in found.get("images", ()))
    return Line(where, id, found.get("prompt", ""), images, wanted._replace(**fields))


def _problem(found: Any) -> str:
    """What is wrong with a line's JSON; empty if nothing is."""
    if not isinstance(found, dict):
        return "must be an object"
    for name in found:
        if name not in FIELDS:
            return f"{name!r} is no field: they are {', '.join(FIELDS)}"
    if not isinstance(found.get("id"), str | int):
        return "id: must be a string or a whole number"
    if not isinstance(found.get("prompt", ""), str):
        return "prompt: must be a string"
    for name in LISTS:
        value = found.get(name, [])
        if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
            return f"{name}: must be a list of strings"
    ids = found.get("stop_ids", [])
    if not isinstance(ids, list) or not all(map(json_lines.is_whole, ids)):
        return "stop_ids: must be a list of whole numbers"
    for name, kind in NUMBERS.items():
        value = found.get(name, 0)
        whole = json_lines.is_whole(value)
        if not (whole or (kind is float and isinstance(value, float))):
            return f"{name}={value!r}: must be a {'whole ' * (kind is int)}number"
    return ""


def run(
    answerer: Answerer, lines: Sequence[Line], out: str, how: Batching
) -> Iterator[str]:
    """Answers requests, appending to `out`, and tells of it.

    Ids that are there already aren't repeated. With `how.stop` all requests are checked
    before the first is answered, and the first bad one is a ValueError.
    """
    done = json_lines.read(out, "answer")
    left = [line for line in lines if line.id not in done]
    if len(left) < len(lines):
        yield f"{len(lines) - len(left)} of {len(lines)} requests are answered already"
    if how.stop:
        for line in left:
            _request(answerer, line, True)
    failed, answered = 0, 0
    for start in range(0, len(left), how.size):
        answers = _answers(answerer, left[start : start + how.size], how.stop)
        failed += sum("error" in answer for answer in answers)
        answered += len(answers)
        json_lines.append(out, answers)
        yield f"{answered} of {len(left)} requests answered, {failed} of them failed"
    yield f"answers: {out}"


def _request(answerer: Answerer, line: Line, stop: bool) -> Request | str:
    """The request of a line, checked, or what is wrong with it.

    With `stop` that is a ValueError, which names file and line.
    """
    try:
        if line.error:
            raise ValueError(line.error)
        prompt = prompt_parts.woven(
            line.prompt, [answering.image(path) for path in line.images]
        )
        request = line.wanted._replace(parts=prompt)
        answering.check(answerer.config, answerer.tokenizer, request)
        return request
    except ValueError as error:
        if stop:
            raise ValueError(f"{line.where}: {error}") from error
        return str(error)


def _answers(
    answerer: Answerer, lines: Sequence[Line], stop: bool
) -> list[dict[str, Any]]:
    """A record of each line, in their order."""
    records: dict[int, dict[str, Any]] = {}
    good: dict[int, Request] = {}
    for place, line in enumerate(lines):
        request = _request(answerer, line, stop)
        if isinstance(request, str):
            records[place] = {"id": line.id, "error": request}
        else:
            good[place] = request
    for scored in (False, True):
        kind = {p: r for p, r in good.items() if bool(r.continuations) == scored}
        where = [lines[place].where for place in kind]
        found = _together(answerer, list(kind.values()), where, stop)
        for place, answer in zip(kind, found):
            records[place] = {"id": lines[place].id, **answer}
    return [records[place] for place in range(len(lines))]


def _together(
    answerer: Answerer, requests: Sequence[Request], where: Sequence[str], stop: bool
) -> list[dict[str, Any]]:
    """Answers of good requests as one batch; one by one where an image is damaged."""
    if not requests:
        return []
    try:
        return [_record(answer) for answer in answering.answer(answerer, requests)]
    except ValueError as error:
        if len(requests) == 1 and stop:
            raise ValueError(f"{where[0]}: {error}") from error
        if len(requests) == 1:
            return [{"error": str(error)}]
    return [
        _together(answerer, [request], [place], stop)[0]
        for request, place in zip(requests, where)
    ]


def _record(answer: Answer) -> dict[str, Any]:
    if not answer.scores:
        return {"text": answer.text, "tokens": answer.tokens, "ended": answer.ended}
    return {
        "scores": [
            {
                "text": score.text,
                "log_likelihood": score.total,
                "log_likelihoods": list(score.log_likelihoods),
                "greedy": score.greedy,
            }
            for score in answer.scores
        ]
    }
