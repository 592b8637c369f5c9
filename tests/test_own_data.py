"""A folder of one's own, from raw files to a report: the commands of the README."""

import json
import pathlib

import programs
import pytest

SMALLER = (
    "--config.steps=12",
    "--config.optim.warmup_steps=2",
    "--config.log.every=2",
    "--config.evaluation.every=6",
    "--config.evaluation.rows=8",
    "--config.model.vit.layers=2",
    "--config.model.decoder.layers=2",
    "--config.data.rows_per_batch=8",
    "--config.data.rows_per_pool=8",
)


def head(source: pathlib.Path, lines: int, target: pathlib.Path) -> pathlib.Path:
    """The first lines of a file, as a file."""
    with source.open(encoding="utf-8") as file:
        target.write_text("".join(line for line, _ in zip(file, range(lines))))
    return target


@pytest.mark.extra
def test_real_photos_pages_and_text_are_learned_from_and_shown(real_data, tmp_path):
    photos = real_data / "captions" / "flickr8k_1000"
    pages = real_data / "interleaved"
    wiki = real_data / "text" / "wikitext2_valid.txt"
    data, workdir = tmp_path / "data", tmp_path / "run"
    summary = programs.run(
        "data_pipelines.prepare",
        f"--captions={head(photos / 'captions.jsonl', 120, tmp_path / 'c.jsonl')}",
        f"--images={photos}",
        f"--interleaved={head(pages / 'docs.jsonl', 40, tmp_path / 'i.jsonl')}",
        f"--interleaved_images={pages}",
        f"--text={head(wiki, 1200, tmp_path / 't.txt')}",
        f"--output={data}",
        "--vocab_size=2000",
        "--heldout=0.1",
    )
    assert "rejected: 0" in summary
    assert (data / "rejects.jsonl").read_text() == ""
    programs.run(
        "mmjax.train",
        "--config=configs/own_data.py",
        f"--config.data.root={data}",
        f"--workdir={workdir}",
        *SMALLER,
    )
    lines = [
        json.loads(x) for x in (workdir / "metrics.jsonl").read_text().split("\n")[:-1]
    ]
    losses = [line for line in lines if "loss" in line]
    for source in ("captions", "interleaved", "text"):
        assert losses[-1][f"loss/{source}"] < losses[0][f"loss/{source}"] - 0.5
    figures = json.loads((workdir / "summary.json").read_text())
    rows = {name: count["rows"] for name, count in figures["delivered"].items()}
    assert sum(rows.values()) == 12 * 8
    assert all(abs(rows[n] - s * 96) < 1 for n, s in figures["mixture"].items())
    assert (workdir / "report.html").read_text().count("data:image/jpeg;base64,") >= 8
