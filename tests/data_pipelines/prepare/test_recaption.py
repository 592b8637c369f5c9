"""Recaptioning: whatever the endpoint does, whenever it is killed, the same shards."""

import collections
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import chat_server
import pytest
from chat_server import OK, Act

from data_pipelines import index, shards, tokenizer
from data_pipelines.endpoint.asking import Manner
from data_pipelines.endpoint.chat import Endpoint
from data_pipelines.prepare import recaption
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader

KEY = "sk-very-secret-0123456789"
COUNT = 24
ENV = "MMJAX_TEST_KEY"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A prepared folder of captions."""
    root = tmp_path_factory.mktemp("prepared")
    words = tokenizer.train(
        [f"alt {n}, seen caf\u00e9" for n in range(50)], root / "tokenizer.model", 300
    )
    for split, first in (("train", 0), ("heldout", 100)):
        documents = [
            Document((Image(b"\xff\xd8%d" % (n // 2), 4, 4), Text(f"alt {n}")))
            for n in range(first, first + COUNT)
        ]
        shards.write(root / "captions" / split, documents, 3)
        index.build(root / "captions" / split, words)
    return root


@pytest.fixture
def root(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "root")


@pytest.fixture(scope="module")
def expected(prepared, tmp_path_factory):
    """The files of an undisturbed run."""
    root = shutil.copytree(prepared, tmp_path_factory.mktemp("expected") / "root")
    with chat_server.serve() as server:
        recaption.recaption(_request(root, server), _quiet)
    return _files(root)


def _quiet(_: str) -> None:
    pass


FAST = Manner(per_minute=60_000, backoff=0.01)


def _request(root, server, timeout=30.0, **changes) -> recaption.Request:
    endpoint = Endpoint(server.url, "m", KEY, 50, timeout)
    return recaption.Request(str(root), endpoint, manner=FAST)._replace(**changes)


def _files(root: pathlib.Path) -> dict[str, bytes]:
    """All that is prepared; not the journal, whose order is that of the answers."""
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in root.rglob("*")
        if p.is_file() and p.suffix != ".jsonl"
    }


def _synthetic(root, split: str = "train") -> dict[str, str]:
    reader = ShardReader(root / "captions" / split)
    found = {}
    for number in range(len(reader)):
        _, text = reader.document(number).segments
        assert isinstance(text, Text)
        found[text.text] = text.synthetic
    return found


def _number(prompt: str) -> int:
    return int(prompt.split("alt ")[1].split()[0])


def test_every_training_caption_is_described_from_its_image_and_text(root):
    with chat_server.serve() as server:
        said = recaption.recaption(_request(root, server), _quiet)
    assert len(server.asked) == COUNT
    for asked in server.asked:
        n = _number(asked.prompt)
        assert asked.image == b"\xff\xd8%d" % (n // 2)
        assert asked.prompt == recaption.PROMPT.replace("{caption}", f"alt {n}")
    by_text = {f"alt {_number(a.prompt)}": a for a in server.asked}
    for text, synthetic in _synthetic(root).items():
        asked = by_text[text]
        assert synthetic == chat_server.description(asked.prompt, asked.image)
    assert not any(_synthetic(root, "heldout").values())
    manifest = shards.read_manifest(root / "captions/train")
    facts = manifest["extra"]["recaption"]
    assert (facts["model"], facts["synthetic"]) == ("m", COUNT)
    assert len(facts["prompt_sha256"]) == 64
    assert f"{COUNT} of {COUNT} documents" in said
    assert f"{100 * COUNT} tokens in, {10 * COUNT} out" in said


def _moody(prompt: str, number: int) -> Act:
    """Each caption meets other trouble, some of it twice, and then an answer."""
    troubles = [
        [Act(500)],
        [Act(429, {"Retry-After": "0.05"}), Act(429, {"Retry-After": "0.05"})],
        [Act(503, {"Retry-After": "0.05"}), Act(502)],
        [Act(hang=3.0)],
        [Act(drop=True), Act(body=b"<html>")],
        [Act(body=b'{"choices": [{"message": {"content": ""}}]}'), Act(429)],
        [],
    ]
    mine = troubles[_number(prompt) % len(troubles)]
    return mine[number - 1] if number <= len(mine) else OK


def test_trouble_changes_no_byte(root, expected):
    with chat_server.serve(_moody) as server:
        said = recaption.recaption(_request(root, server, timeout=1.0), _quiet)
    assert "0 failed" in said
    assert _files(root) == expected


def test_a_server_that_wants_a_pause_gets_it_from_all(root):
    first = threading.Event()

    def plan(prompt, number):
        if not first.is_set():
            first.set()
            return Act(429, {"Retry-After": "1"})
        return OK

    with chat_server.serve(plan) as server:
        recaption.recaption(
            _request(root, server, manner=Manner(per_minute=1200.0)), _quiet
        )
    times = sorted(asked.at for asked in server.asked)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) > 0.6
    assert times[-1] - times[0] > 0.6 + (COUNT - 2) * 0.05  # and the pace is kept
    assert len(times) == COUNT + 1


def test_failures_are_counted_by_reason_and_asked_again_the_next_time(root, expected):
    def plan(prompt, number):
        n = _number(prompt)
        if n == 3:
            return Act(400, body=f"bad image, {KEY}".encode())
        if n == 5:
            return Act(finish="length")
        return Act(500) if n == 7 else OK

    with chat_server.serve(plan) as server:
        request = _request(root, server, manner=FAST._replace(tries=3))
        said = recaption.recaption(request, _quiet)
        assert "21 of 24 documents have a synthetic caption" in said
        for words in (
            "1 x HTTP 400: bad image, [key]", "1 x HTTP 500",
            "1 x answer is cut off: at 50 tokens", "3 failed",
        ):  # fmt: skip
            assert words in said
        missing = {text for text, words in _synthetic(root).items() if not words}
        assert missing == {"alt 3", "alt 5", "alt 7"}
        times = collections.Counter(_number(a.prompt) for a in server.asked)
        assert (times[3], times[5], times[7]) == (1, 1, 3)
        server.asked.clear()
        server.plan = lambda prompt, number: OK
        recaption.recaption(request, _quiet)
        assert {_number(asked.prompt) for asked in server.asked} == {3, 5, 7}
    assert _files(root) == expected


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (Act(401, body=f"wrong key {KEY}".encode()), "HTTP 401, the key is refused"),
        (Act(500), "20 questions in a row without an answer, the last one: HTTP 500"),
    ],
)
def test_an_endpoint_that_answers_nothing_ends_the_run_at_once(root, act, says):
    before = _files(root)
    refused = pytest.raises(ValueError, match=says)
    with chat_server.serve(lambda *_: act) as server, refused as error:
        request = _request(root, server, manner=FAST._replace(tries=2))
        recaption.recaption(request, _quiet)
    assert KEY not in str(error.value)
    assert _files(root) == before


def test_a_limit_takes_the_first_ones(root):
    with chat_server.serve() as server:
        request = _request(root, server, limit=5)
        recaption.recaption(request, _quiet)
        recaption.recaption(request, _quiet)
        assert len(server.asked) == 5
    assert sum(map(bool, _synthetic(root).values())) == 5


def test_another_prompt_is_another_question(root, expected):
    with chat_server.serve() as server:
        recaption.recaption(_request(root, server, prompt="So: {caption}"), _quiet)
        other = _synthetic(root)
        recaption.recaption(_request(root, server), _quiet)
        assert len(server.asked) == 2 * COUNT
        recaption.recaption(_request(root, server, prompt="So: {caption}"), _quiet)
        assert len(server.asked) == 2 * COUNT
    assert _synthetic(root) == other
    assert all(other.values())


def test_mistakes_are_named_before_anything_is_asked(root, tmp_path):
    with chat_server.serve() as server:
        good = _request(root, server)
        foreign = tokenizer.train(["other words"], tmp_path / "o.model", 300)
        mistakes = {
            "--prompt: must say {caption}": good._replace(prompt="What?"),
            "no such folder of shards": good._replace(corpus="absent"),
            "not indexed for the tokenizer": good._replace(tokenizer=foreign.path),
            "--endpoint=x": good._replace(endpoint=Endpoint("x", "m")),
        }
        for words, request in mistakes.items():
            with pytest.raises(ValueError, match=words):
                recaption.recaption(request, _quiet)
    assert not server.asked


def _start(root, server, *more: str) -> subprocess.Popen:
    command = [
        sys.executable, "-m", "data_pipelines.prepare", "recaption",
        f"--output={root}", f"--endpoint={server.url}", "--model=m",
        "--concurrency=3", "--requests_per_minute=60000", "--max_tokens=50",
        f"--api_key_env={ENV}", "--price_in=1.5", "--price_out=6", *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        env={**os.environ, ENV: KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_killed_at_any_time_and_run_again_the_bytes_are_the_same(root, expected):
    """Killed at the 1st, 8th and 15th question, and while shards are written."""
    output, lock, at = "", threading.Lock(), 0

    def plan(prompt, number):
        nonlocal at
        with lock:
            if at and len(server.asked) >= at:
                at = 0
                process.kill()
        return OK

    with chat_server.serve(plan) as server:
        for at in (1, 8, 15):  # noqa: B007  (plan reads it)
            process = _start(root, server)
            output += process.communicate(timeout=60)[0]
            assert process.returncode == -signal.SIGKILL
        beside = root / "captions/train/.rewording"
        process = _start(root, server)
        for _ in range(6000):
            if beside.exists() or process.poll() is not None:
                break
            time.sleep(0.005)
        process.kill()
        output += process.communicate(timeout=60)[0]
        process = _start(root, server)
        last = process.communicate(timeout=60)[0]
        output += last
    assert process.returncode == 0, last
    assert _files(root) == expected
    assert f"{24 * 100} tokens in, 240 out, cost 0.01, 0 failed" in last
    times = collections.Counter(asked.prompt for asked in server.asked)
    again = sum(times.values()) - len(times)
    assert again <= 3 * 3  # questions that were open when it was killed
    assert all(a.headers["Authorization"] == f"Bearer {KEY}" for a in server.asked)
    assert KEY not in output
    for path in root.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


def test_stopped_by_hand_it_says_so_and_goes_on_where_it_was(root, expected):
    def plan(prompt, number):
        if len(server.asked) == 5:
            process.send_signal(signal.SIGINT)
        return Act(hang=0.1)

    with chat_server.serve(plan) as server:
        process = _start(root, server)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 1
        assert said.rstrip().endswith("stopped; the same command goes on from here")
        assert "Traceback" not in said
        assert len(server.asked) < 15
        recaption.recaption(_request(root, server), _quiet)
        assert len(server.asked) == COUNT  # what was open had been answered and kept
    assert _files(root) == expected


def test_the_programs_mistakes_are_one_line(root):
    with chat_server.serve() as server:
        for flag, words in {
            "--api_key_env=MMJAX_NO_KEY": "--api_key_env=MMJAX_NO_KEY: no such",
            "--prompt_file=absent.txt": "--prompt_file=absent.txt: can't be read",
            "--model=": "--model: name the endpoint's model",
        }.items():
            process = _start(root, server, flag)
            said = process.communicate(timeout=60)[0]
            assert process.returncode == 1
            assert said.startswith(f"error: {words}"), said
            assert len(said.splitlines()) == 1
    assert not server.asked
