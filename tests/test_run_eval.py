"""Held-out data of a run: what is there, what is missing, and samples of it."""

import json
import shutil

import jax
import pytest
import synthetic
import tiny_run

from data_pipelines.prepare import sample_world
from mmjax import run_eval, run_setup, step


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Of a run whose source of texts has no held-out documents."""
    root = tmp_path_factory.mktemp("eval")
    sample_world.ensure(root / "world", tiny_run.spec(), progress=False)
    shutil.rmtree(root / "world/text/heldout")
    made = tiny_run.make_config(root / "world")
    made.data.sample_world.enabled = False
    said = []
    opened = run_eval.open(run_setup.set_up(made, root / "work"), said.append)
    assert said == [f"source text: no held-out documents, {root}/world/text/heldout"]
    return opened


@pytest.fixture(scope="module")
def params(evaluation):
    run = evaluation.run
    return step.init_state(run.model, run.config, run.mesh, jax.random.key(0)).params


def test_only_sources_with_held_out_documents_are_measured(evaluation, params):
    with synthetic.quick_compilation():
        found = run_eval.losses(evaluation, params)
    assert list(found) == ["captions", "interleaved"]
    assert all(loss.tokens > 0 and 4 < loss.loss < 9 for loss in found.values())
    assert set(run_eval.record(found)) == {
        "heldout_loss/captions",
        "heldout_loss/interleaved",
    }


def test_a_held_out_folder_that_the_config_names_must_be_there(evaluation):
    run = evaluation.run
    run.config.data.sources[2].heldout = "text/elsewhere"
    with pytest.raises(ValueError, match="text/elsewhere: no such folder"):
        run_eval.open(run, print)
    run.config.data.sources[2].heldout = ""


def test_samples_are_held_out_pairs_with_the_model_s_own_words(evaluation, params):
    with synthetic.quick_compilation():
        answerer = run_eval.answering_with(evaluation, params)
        samples = run_eval.captions(evaluation, answerer, 3)
    assert len(samples) == 3
    assert len({sample.image for sample in samples}) == 3
    for sample in samples:
        assert sample.image[:2] == b"\xff\xd8"  # as a JPEG begins
        assert len(sample.reference) > 10
        assert isinstance(sample.caption, str)
    json.dumps([sample.caption for sample in samples])


def test_no_samples_without_images(evaluation, params):
    answerer = run_eval.answering_with(evaluation, params)
    assert run_eval.captions(evaluation._replace(held_out=None), answerer, 3) == []
    assert run_eval.captions(evaluation, answerer, 0) == []
    assert run_eval.captions(evaluation, None, 3) == []
