"""Text tasks: ARC, PIQA, SciQ, HellaSwag, WinoGrande, LAMBADA, TriviaQA, WebQS.

Contexts and choices are those of lm-evaluation-harness, so that scores compare. Where a
set has no ids, the number of the record is the id.
"""

import json
import pathlib
import re
from collections.abc import Callable, Iterator

from mmjax.evals.example import Example
from mmjax.evals.readers import files


def arc(paths: list[pathlib.Path]) -> Iterator[Example]:
    """ARC, in AI2's shape (`question.stem`) or Hugging Face's (`choices.text`)."""

    def make(number: int, record: files.Record) -> Example:
        asked, choices = record["question"], record.get("choices")
        if isinstance(asked, dict):
            choices = {
                "text": [choice["text"] for choice in asked["choices"]],
                "label": [choice["label"] for choice in asked["choices"]],
            }
            asked = asked["stem"]
        if choices is None:
            raise KeyError("choices")
        place = list(choices["label"]).index(record["answerKey"])
        return Example(record["id"], (), asked, tuple(choices["text"]), place)

    yield from _numbered(paths[0], make)


def piqa(paths: list[pathlib.Path]) -> Iterator[Example]:
    """PIQA's lines and its file of labels, a number a line; parquet holds both."""
    path, *rest = paths
    labels = [int(line) for line in files.text(rest[0]).split()] if rest else None

    def make(number: int, record: files.Record) -> Example:
        if labels is None and "label" not in record:
            raise KeyError("label")
        place = record["label"] if labels is None else labels[number]
        choices = (record["sol1"], record["sol2"])
        return Example(str(number), (), record["goal"], choices, int(place))

    yield from _numbered(path, make)


def sciq(paths: list[pathlib.Path]) -> Iterator[Example]:
    """SciQ; the right answer stands last, its support is the hint."""

    def make(number: int, record: files.Record) -> Example:
        names = ("distractor1", "distractor2", "distractor3", "correct_answer")
        choices = tuple(record[name] for name in names)
        support = record["support"].lstrip()
        return Example(str(number), (), record["question"], choices, 3, hint=support)

    yield from _numbered(paths[0], make)


def hellaswag(paths: list[pathlib.Path]) -> Iterator[Example]:
    """HellaSwag, activity before the context, WikiHow's marks removed."""

    def make(number: int, record: files.Record) -> Example:
        context = f"{record['ctx_a']} {record['ctx_b'].capitalize()}"
        asked = _without_marks(f"{record['activity_label']}: {context}")
        endings = tuple(_without_marks(ending) for ending in record["endings"])
        return Example(str(number), (), asked, endings, int(record["label"]))

    yield from _numbered(paths[0], make)


def winogrande(paths: list[pathlib.Path]) -> Iterator[Example]:
    """WinoGrande: each option fills the gap of its own context, the rest is scored."""

    def make(number: int, record: files.Record) -> Example:
        before, after = record["sentence"].split("_")
        contexts = (before + record["option1"], before + record["option2"])
        ending = after.strip()
        place = int(record["answer"]) - 1
        key = str(record.get("qID", number))
        asked = record["sentence"]
        return Example(key, (), asked, (ending, ending), place, contexts=contexts)

    yield from _numbered(paths[0], make)


def lambada(paths: list[pathlib.Path]) -> Iterator[Example]:
    """LAMBADA as OpenAI cut it: the last word is to be said."""

    def make(number: int, record: files.Record) -> Example:
        context, word = record["text"].rsplit(" ", 1)
        return Example(str(number), (), context, (word,), 0, (word,))

    yield from _numbered(paths[0], make)


def triviaqa(paths: list[pathlib.Path]) -> Iterator[Example]:
    """TriviaQA, in its authors' shape (`Data`) or Hugging Face's rows."""
    [path] = paths
    if path.suffix != ".parquet" and ".jsonl" not in path.name:
        data = files.field(files.load(path), "Data", path)
        yield from files.examples(path, data, _trivia)
    else:
        yield from files.examples(path, files.rows(path), _trivia_row)


def webqs(paths: list[pathlib.Path]) -> Iterator[Example]:
    """WebQuestions, in its authors' shape (`targetValue`) or rows of answers.

    An alias that begins with another is left out: the other is said on the way to it.
    """

    def make(number: int, record: files.Record) -> Example:
        if "targetValue" in record:
            asked, said = record["utterance"], _described(record["targetValue"])
        else:
            asked, said = record["question"], list(record["answers"])
        kept: list[str] = []
        for alias in sorted(said):
            if not kept or not alias.startswith(kept[-1]):
                kept.append(alias)
        if not kept:
            raise ValueError("no answers")
        return Example(str(number), (), asked, tuple(kept), references=tuple(said))

    yield from _numbered(paths[0], make)


def _numbered(
    path: pathlib.Path, make: Callable[[int, files.Record], Example]
) -> Iterator[Example]:
    records = enumerate(files.rows(path))
    yield from files.examples(path, records, lambda item: make(*item))


def _trivia(record: files.Record) -> Example:
    """A question as TriviaQA's authors write it."""
    answer = record["Answer"]
    aliases = tuple(dict.fromkeys(answer["Aliases"])) or (answer["Value"],)
    facts = {"normalized": answer["NormalizedAliases"], "shown": answer["Value"]}
    key, asked = record["QuestionId"], record["Question"]
    return Example(key, (), asked, references=aliases, facts=facts)


def _trivia_row(record: files.Record) -> Example:
    """The same as Hugging Face's rows have it."""
    answer = record["answer"]
    aliases = tuple(dict.fromkeys(answer["aliases"])) or (answer["value"],)
    facts = {"normalized": answer["normalized_aliases"], "shown": answer["value"]}
    key, asked = record["question_id"], record["question"]
    return Example(key, (), asked, references=aliases, facts=facts)


def _without_marks(text: str) -> str:
    """HellaSwag's text without what WikiHow leaves in it."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def _described(value: str) -> list[str]:
    """The answers in `(list (description "a b") (description c))`."""
    pattern = r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()\s]+))\)'
    return [
        json.loads(f'"{quoted}"') if quoted else plain
        for quoted, plain in re.findall(pattern, value)
    ]
