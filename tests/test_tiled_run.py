"""A run on tiled images: trained, measured and reported as any other."""

import json

import pytest
import synthetic
import tiny_run

from data_pipelines import pipeline
from data_pipelines.prepare import sample_world
from mmjax import config, dry_run, train
from mmjax.config import Preprocessing

CROPS = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    sample_world.ensure(root, tiny_run.spec(), progress=False)
    made = tiny_run.make_config(root, steps=3)
    made.model.preprocessing = Preprocessing("letterbox", "bicubic", "mm1")
    made.evaluation.every = 0
    return made


@pytest.mark.slow
def test_a_run_on_tiled_images_trains_answers_and_captions(made, tmp_path):
    with synthetic.quick_compilation():
        train.train(made, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    delivered = summary["delivered"]["captions"]
    assert delivered["images"] > 0
    assert delivered["slots"] == CROPS * delivered["images"]
    tokens = made.model.connector.tokens
    assert delivered["image_tokens"] == tokens * delivered["slots"]
    assert summary["steps"] == 3
    assert summary["accuracy"]
    assert (tmp_path / "run" / "report.html").exists()


def test_a_dry_run_counts_images_and_compares_no_row_with_mm1s(made):
    made = tiny_run.make_config(
        made.data.root,
        data=config.Data(**{**vars(made.data), "row_tokens": 128}),
        model=made.model,
    )
    text = "\n".join(dry_run._mixture(made, pipeline.open(made)))
    assert "token fill" in text
    assert "MM1's own rows" not in text
