"""The program: help that helps, one clear line for each mistake."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from data_pipelines import index, shards, tokenizer
from data_pipelines.records import Document, Text
from mmjax import config as config_lib


def _run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "data_pipelines.prepare", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_mistakes_end_in_one_line_and_an_exit_status(tmp_path):
    (tmp_path / "t.txt").write_text("text")
    text, output = f"--text={tmp_path / 't.txt'}", f"--output={tmp_path / 'out'}"
    mistakes = {
        (output,): "nothing to prepare",
        (output, "--captions=absent.jsonl"): "absent.jsonl: no such file of captions",
        (output, text, "--tokenizer=absent.model"): "tokenizer absent.model",
        (output, text, "--tokenizer_weights=text"): "needs CORPUS:WEIGHT",
        (output, text, "--tokenizer_weights=web:1"): "needs a weight for each corpus",
        (output, text, "--tokenizer_weights=text:1", "--tokenizer=a.model"): (
            "--tokenizer gives one, trained already"
        ),
        (output, text, "captions"): "'captions': the commands are index and recaption",
    }
    for arguments, words in mistakes.items():
        done = _run(*arguments)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_unknown_flag_and_a_missing_output_are_refused():
    for arguments, word in (["--captoins=x"], "captoins"), (["--text=x"], "--output"):
        done = _run(*arguments)
        assert done.returncode != 0
        assert word in done.stderr
        assert "Traceback" not in done.stderr


def test_the_short_help_names_formats_and_flags():
    words = _run("--helpshort").stdout
    for flag in (
        "captions", "interleaved", "text_split", "heldout", "tokenizer", "endpoint"
    ):  # fmt: skip
        assert f"--{flag}" in words or f"--[no]{flag}" in words
    assert '{"image": path, "caption": text}' in words


def test_every_flag_of_the_page_is_one_of_the_program():
    page = (pathlib.Path(__file__).parents[3] / "docs" / "prepare.md").read_text()
    beams = set(re.findall(r"--beam=--([a-z_]+)", page))
    named = set(re.findall(r"--([a-z_]+)", page)) - beams - {"helpshort", "beam"}
    known = set(
        re.findall(r"^  --(?:\[no\])?([a-z_]+):", _run("--helpshort").stdout, re.M)
    )
    assert named - known == {"nonear_duplicates"}


def test_shards_are_counted_again_for_another_tokenizer(tmp_path):
    texts = [f"text number {n}" for n in range(50)]
    model = tmp_path / "other.model"
    words = tokenizer.train(texts, model, 300)
    folder = tmp_path / "root" / "text" / "train"
    shards.write(folder, [Document((Text(text),)) for text in texts], 2)
    done = _run("index", f"--output={tmp_path / 'root'}", f"--tokenizer={model}")
    assert done.returncode == 0, done.stderr
    assert "indexed 1 folders" in done.stdout
    assert len(index.load(folder, words, config_lib.Model()).segment_tokens) == 50
    done = _run("index", f"--output={tmp_path}", f"--tokenizer={model}")
    assert done.stderr == f"error: --output={tmp_path}: no prepared corpora in it\n"
    assert done.returncode == 1


@pytest.mark.extra
def test_a_run_prints_its_summary(tmp_path):
    lines = [json.dumps({"text": f"text number {n}"}) for n in range(50)]
    (tmp_path / "t.jsonl").write_text("\n".join([*lines, "{"]))
    done = _run(
        f"--text={tmp_path / 't.jsonl'}", f"--output={tmp_path / 'out'}",
        "--vocab_size=300", "--heldout=0.1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "text/train" in done.stdout
    assert "rejected: 1, listed in" in done.stdout
    assert "1 x malformed_json (the record is left out)" in done.stdout
