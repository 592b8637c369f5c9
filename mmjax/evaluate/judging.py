"""Open answers that a judge reads: another model, behind an endpoint, says yes or no.

Its replies are kept in a journal beside the examples, by what was asked: equal
questions are asked once, and the same command again asks only those without a reply.
"""

import collections
import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines.endpoint import answers, asking
from data_pipelines.endpoint.answers import Journal
from data_pipelines.endpoint.asking import Bar, Manner, Question, Tally
from data_pipelines.endpoint.chat import Endpoint, Failure
from mmjax.evals import bootstrap, judge, metric, prompts
from mmjax.evaluation import asking as evaluation_asking
from mmjax.evaluation import results
from mmjax.evaluation.jobs import Job
from mmjax.evaluation.results import Figure, Judging, Result

Record = dict[str, Any]
Done = tuple[Job, Result, list[Record]]  # what became of a job
Questions = dict[str, Question]  # by the id of an example


class Judge(NamedTuple):
    """Whom to ask, and how."""

    endpoint: Endpoint
    manner: Manner = Manner()


class Heard(NamedTuple):
    """What is known of the questions, by key."""

    replies: Mapping[bytes, str]
    failed: Mapping[bytes, str]  # why there is no reply


def add(
    who: Judge, done: Sequence[Done], home: pathlib.Path, say: Callable[[str], None]
) -> list[Done]:
    """The results with the judge's figure, the records with what it says of each.

    Results of tasks that aren't judged stay as they are, which is said. The files of
    the records are written anew. ValueError where the endpoint refuses, or answers
    nothing; what it answered until then is kept.
    """
    asked = [_questions(job, records) for job, _, records in done]
    _tell_left_out(done, asked, say)
    questions = {q.key: q for each in asked for q in each.values()}
    if not questions:
        return list(done)
    heard = _hear(who, questions, home, say)
    found = [
        _judged(who, one, each, heard) if each else one
        for one, each in zip(done, asked)
    ]
    for job, _, records in found:
        results.write_examples(home / f"{job.stem}.jsonl", records)
    return found


def _questions(job: Job, records: Sequence[Record]) -> Questions:
    """What to ask about the answers of a job; empty where they aren't judged."""
    if job.manner.task.mode != "generate":
        return {}
    examples = {example.id: example for example in job.examples}
    found = {}
    for record in records:
        example = examples[record["id"]]
        references = judge.references(example)
        if references:
            parts = prompts.fill(job.manner.prompt, example)
            question = evaluation_asking.shown(parts).strip()
            prompt = judge.ask(question, references, record["parsed"])
            found[example.id] = Question(_key(prompt), prompt)
    return found


def _key(prompt: str) -> bytes:
    data = prompt.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).digest()


def _tell_left_out(
    done: Sequence[Done], asked: Sequence[Questions], say: Callable[[str], None]
) -> None:
    """A line for each task that isn't judged."""
    why = {True: "none of its answers is known in words", False: "it is by likelihood"}
    lines = (
        f"{job.name} isn't judged: {why[job.manner.task.mode == 'generate']}"
        for (job, _, _), questions in zip(done, asked)
        if not questions
    )
    for line in dict.fromkeys(lines):
        say(line)


def _hear(
    who: Judge,
    questions: Mapping[bytes, Question],
    home: pathlib.Path,
    say: Callable[[str], None],
) -> Heard:
    """Asks what the journal doesn't answer."""
    name = answers.name("judge", who.endpoint.model, judge.PROMPT)
    with answers.disk(home), Journal(home / name) as journal:
        known = sum(key in journal for key in questions)
        say(f"judge: {known} of {len(questions)} questions are answered already")
        state = functools.partial(_state, journal)
        bar = Bar("judged", len(questions), state)
        try:
            tally = asking.ask_all(
                who.endpoint, questions.values(), who.manner, journal, bar, _check
            )
            if not any(key in journal for key in questions):
                raise ValueError("; ".join(["not one reply", *tally.lines()]))
        except ValueError as error:
            raise ValueError(
                f"--judge: {error} (the results without it are written; the same "
                "command goes on)"
            ) from error
        for line in tally.lines():
            say(f"judge: {line}")
        replies = {key: journal.get(key) for key in questions if key in journal}
    return Heard(replies, tally.failed)


def _check(reply: str) -> None:
    if judge.verdict(reply) is None:
        raise Failure(judge.UNREADABLE, repr(reply[:80]))


def _state(journal: Journal, tally: Tally) -> str:
    tokens_in, tokens_out = journal.tokens
    failed = tally.reasons.total()
    return f"{tokens_in} tokens in, {tokens_out} out, {failed} failed"


def _judged(who: Judge, one: Done, questions: Questions, heard: Heard) -> Done:
    """A job's result and records with what the judge says."""
    job, result, records = one
    told = {id: _word(heard, question.key) for id, question in questions.items()}
    verdicts = [word["judged"] for word in told.values() if "judged" in word]
    failed = collections.Counter(
        word["judge_failed"] for word in told.values() if "judged" not in word
    )
    figures = dict(result.figures)
    if verdicts:
        share = metric.mean(verdicts)
        ends = bootstrap.interval(share, job.manner.seed)
        figures[results.JUDGED] = Figure(share.value, *ends)
    result = result._replace(
        figures=figures,
        settings={**result.settings, "judge": _settings(who)},
        judging=Judging(len(verdicts), dict(sorted(failed.items()))),
    )
    return job, result, [record | told.get(record["id"], {}) for record in records]


def _word(heard: Heard, key: bytes) -> Record:
    """What a record gets: a verdict, or why there is none, and the reply."""
    if key not in heard.replies:
        return {"judge_failed": heard.failed[key]}
    reply = heard.replies[key]
    verdict = judge.verdict(reply)
    if verdict is None:
        return {"judge_failed": judge.UNREADABLE, "judge_reply": reply}
    return {"judged": verdict, "judge_reply": reply}


def _settings(who: Judge) -> dict[str, Any]:
    """What tells its figure from that of another judge."""
    return {
        "model": who.endpoint.model,
        "prompt_sha256": judge.digest(),
        "temperature": who.endpoint.temperature,
    }
