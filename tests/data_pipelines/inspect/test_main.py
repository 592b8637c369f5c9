"""The program: what each command prints, exit statuses, one clear line a mistake."""

import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from data_pipelines import index, shards, tokenizer
from data_pipelines.records import Document, Image, Text
from mmjax import config as config_lib

main = importlib.import_module("data_pipelines.inspect.__main__").main
CONFIG = """
from mmjax import config


def get_config():
    return config.from_dict({values!r})
"""


@pytest.fixture(scope="module")
def config(world, tmp_path_factory) -> str:
    """The flag of a config file of the world."""
    values = config_lib.to_dict(world.config())
    values["optim"]["warmup_steps"] = 1
    path = tmp_path_factory.mktemp("config") / "small.py"
    path.write_text(CONFIG.format(values=json.loads(json.dumps(values))))
    return f"--config={path}"


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "data_pipelines.inspect", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_stats_prints_a_table_and_writes_a_page(world, tmp_path, capsys):
    page = tmp_path / "stats.html"
    assert main(["stats", f"--root={world.root}", f"--page={page}"]) == 0
    printed = capsys.readouterr().out
    for name in world.documents:
        assert name in printed
        assert name in page.read_text()
    assert f"wrote {page}" in printed


def test_lint_fails_where_something_is_wrong_and_only_there(world, tmp_path, capsys):
    assert main(["lint", f"--root={world.root}", "--all"]) == 0
    assert capsys.readouterr().out == ""
    folder = tmp_path / "text" / "train"
    shards.write(folder, [Document((Text("a b"),))], 1)
    model = f"--tokenizer={world.tokenizer.path}"
    done = run("lint", f"--root={tmp_path}", model)
    assert done.returncode == 1
    assert "shards have no index" in done.stdout
    assert "problems: 1" in done.stderr


def test_rows_mixture_and_bench_work_from_a_config_file(
    world, config, tmp_path, capsys
):
    page = tmp_path / "rows.html"
    assert main(["rows", config, f"--page={page}", "--step=1", "--count=3"]) == 0
    assert "Batch 1, pool group 0" in page.read_text()
    assert "3 packed rows of 64 tokens" in page.read_text()
    assert main(["mixture", config, "--steps=2"]) == 0
    assert "2 steps of 8 rows" in capsys.readouterr().out
    assert main(["mixture", config, "--config.data.rows_per_batch=4"]) == 0
    assert "12 steps of 4 rows" in capsys.readouterr().out
    assert main(["bench", config, "--batches=2"]) == 0
    assert "2 batches of 8 rows, 2 threads" in capsys.readouterr().out


def test_the_sample_world_is_made_where_training_would_make_it(tmp_path, capsys):
    sizes = {"captions": 20, "interleaved": 10, "texts": 20, "heldout": 2}
    flags = [f"--config.data.sample_world.{k}={v}" for k, v in sizes.items()]
    flags += ["--config.data.sample_world.questions=1", "--config.steps=4"]
    flags += ["--config.optim.warmup_steps=1"]
    flags += [f"--config.data.root={tmp_path / 'world'}"]
    assert main(["mixture", "--config=configs/quickstart.py", *flags]) == 0
    assert "4 steps of 8 rows" in capsys.readouterr().out


def test_mistakes_end_in_one_line(world, config, tmp_path):
    absent = f"--page={tmp_path / 'absent' / 'x.html'}"
    page, root = f"--page={tmp_path / 'x.html'}", f"--root={world.root}"
    mistakes = {
        ("look",): "'look': the commands are stats, lint, rows, mixture, bench",
        ("stats",): "--root=: no such folder",
        ("stats", f"--root={tmp_path}"): "no prepared corpora in it",
        ("stats", root, "--roto=x"): "Did you mean: root",
        ("stats", root, absent): "no such folder",
        ("stats", root, "--tokenizer=absent.model"): "tokenizer absent.model",
        ("lint", root, "more"): "'more': not a flag",
        ("rows", config): "--page is missing",
        ("rows", page): "--config is missing",
        ("rows", page, "--config=absent.py"): "absent.py",
        ("rows", page, config, "--step=99"): "a run that has 0 to 11",
        ("rows", page, config, "--config.data.rot=x"): "did you mean config.data.root",
        ("mixture", config, "--config.data.root=/absent"): "no such folder",
        ("mixture", config, "--config.data.threads=-1"): "data.threads=-1: must be",
        ("bench", config, "--batches=0"): "--batches=0",
    }
    for arguments, words in mistakes.items():
        with pytest.raises(ValueError, match=r"\w") as raised:
            main(arguments)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)
    done = run("stats", "--root=/absent")
    assert done.returncode == 2
    assert done.stderr == "error: --root=/absent: no such folder\n"


@pytest.mark.parametrize(
    "source", ["def get_config():\n    return 3\n", "x = 1 / 0\n", ""]
)
def test_a_config_file_that_gives_no_config_is_named(source, tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(source)
    with pytest.raises(ValueError, match="--config: "):
        main(["mixture", f"--config={path}"])


def test_help_names_the_commands_and_their_flags(capsys):
    assert main([]) == main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in ("stats", "lint", "rows", "mixture", "bench"):
        assert f"inspect {command} --" in printed
        assert main([command, "--help"]) == 0
        printed += capsys.readouterr().out
    for flag in ("limit", "all", "workers", "count", "step", "steps", "batches"):
        assert f"--{flag}: " in printed


def test_real_corpora_are_clean_and_their_pages_small(real_data, tmp_path, capsys):
    lines = (real_data / "captions/flickr8k_1000/captions.jsonl").read_text()
    documents = []
    for line in lines.splitlines()[:60]:
        fields = json.loads(line)
        folder = real_data / "captions/flickr8k_1000"
        data = next(folder.rglob(pathlib.Path(fields["image"]).name)).read_bytes()
        image = Image(data, fields["width"], fields["height"])
        documents += [Document((image, Text(c))) for c in fields["captions"]]
    texts = [s.text for d in documents for s in d.segments if isinstance(s, Text)]
    words = tokenizer.train(texts, tmp_path / "tokenizer.model", 600)
    shards.write(tmp_path / "captions/train", documents, 2)
    index.build(tmp_path / "captions/train", words)
    assert main(["lint", f"--root={tmp_path}", "--all"]) == 0
    page = tmp_path / "stats.html"
    assert main(["stats", f"--root={tmp_path}", f"--page={page}"]) == 0
    assert "(80.0 %)" in capsys.readouterr().out  # five captions an image
    assert page.read_text().count("<img") == 4
    assert page.stat().st_size < 1_000_000
