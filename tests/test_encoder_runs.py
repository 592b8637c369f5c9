"""Runs of encoders' objectives: written, resumed, and used by other runs."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
import tiny_run

from data_pipelines.prepare import sample_world, scenes
from data_pipelines.records import Document, Text
from mmjax import (
    checkpoint,
    config,
    encoder_steps,
    metrics,
    optim,
    run_probe,
    sharding,
    step,
    train,
)
from mmjax.models import vlm

STEPS = 4


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    sample_world.ensure(root, tiny_run.spec(), progress=False)
    return root


def make_config(world, kind: str, **changes) -> config.Config:
    """Four steps of captions, on eight devices."""
    made = tiny_run.make_config(world, steps=STEPS, **changes)
    made.model.objective = config.Objective(
        kind, config.Contrast(width=8), config.Aim(1, 16, 32)
    )
    made.model.decoder.tied_embeddings = True
    made.data.sources = (config.Source("captions"),)
    made.mixture.weights = (1,)
    made.evaluation = config.Evaluation(every=2, rows=8, probe=40)
    made.checkpoint.every = 2
    return made


@pytest.fixture(
    scope="module",
    params=[pytest.param("contrastive", marks=pytest.mark.slow), "aim"],
)
def finished(request, world, tmp_path_factory):
    """The kind and the workdir of a run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("runs") / request.param
    train.train(make_config(world, request.param), workdir)
    return request.param, workdir


def records(workdir):
    """The records of a run without what a clock decides."""
    return [
        {k: v for k, v in line.items() if not re.search("_per_|wait", k)}
        for line in metrics.read_lines(workdir / "metrics.jsonl")
    ]


def weights(world, kind: str, workdir) -> dict[str, np.ndarray]:
    """The parameters of a run's last checkpoint by path."""
    made = make_config(world, kind)
    model, mesh = vlm.build(made.model), sharding.make_mesh(made.mesh)
    shapes = step.abstract_state(model, made, mesh).params
    return optim.flatten(checkpoint.load_weights(str(workdir), shapes))


def test_a_run_leaves_what_it_measured_of_its_encoder(finished):
    kind, workdir = finished
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["objective"] == kind
    assert summary["heldout_tokens"]["captions"] > 0
    assert summary["accuracy"] == {}
    assert set(summary["probe"]) == {"background", "colour", "shape", "size", "texture"}
    for found in summary["probe"].values():
        assert 0 < found["most_common"] < 1
        assert found["images"] > 0
    assert (summary["retrieval"] is None) == (kind == "aim")
    page = (workdir / "report.html").read_text()
    assert "linear probes" in page
    if kind == "contrastive":
        found = summary["retrieval"]
        assert found["baseline"] == 1 / found["pairs"]
        assert set(found["image_to_text"]) == {"1", "5"}
        assert "nats a pair" in page


def test_an_interrupted_run_becomes_bit_for_bit_the_uninterrupted_one(
    finished, world, tmp_path
):
    kind, workdir = finished
    hasty = make_config(world, kind, max_hours=1e-9)
    train.train(hasty, tmp_path)  # ends after one step
    assert not (tmp_path / "report.html").exists()
    train.train(make_config(world, kind), tmp_path)
    assert records(tmp_path) == records(workdir)
    once, twice = (weights(world, kind, folder) for folder in (workdir, tmp_path))
    assert once.keys() == twice.keys()
    for path, leaf in once.items():
        np.testing.assert_array_equal(leaf, twice[path], path)


@pytest.mark.slow
def test_another_run_starts_from_the_encoder_alone(finished, world, tmp_path, capsys):
    kind, workdir = finished
    made = make_config(world, "next_token", init_from=str(workdir), init_parts=("vit",))
    made.steps = 1
    made.optim = config.Optim(warmup_steps=1, frozen=("^vit/",))
    made.evaluation = config.Evaluation(every=0, rows=4, samples=0)
    mesh = sharding.make_mesh(made.mesh)
    model = vlm.build(made.model)
    shapes = step.abstract_state(model, made, mesh).params
    loaded = checkpoint.load_parts(str(workdir), shapes, ("vit",))
    assert set(loaded) == {"vit"}
    stored = weights(world, kind, workdir)
    for path, leaf in optim.flatten(loaded).items():
        np.testing.assert_array_equal(leaf, stored[path], path)
        assert leaf.sharding == optim.flatten(shapes)[path].sharding
    train.train(made, tmp_path)
    told = capsys.readouterr().out
    assert f"weights from {workdir}, connector and decoder new" in told
    # The run's own checkpoint has them bit for bit: it doesn't train them.
    trained = optim.flatten(checkpoint.load_parts(str(tmp_path), shapes, ("vit",)))
    for path, leaf in trained.items():
        np.testing.assert_array_equal(leaf, stored[path], path)
    with pytest.raises(ValueError, match="'connector' is no part of checkpoint"):
        checkpoint.load_parts(str(workdir), shapes, ("connector",))
    wide = dataclasses.replace(made.model.vit, width=32)
    other = dataclasses.replace(made, model=dataclasses.replace(made.model, vit=wide))
    shapes = step.abstract_state(vlm.build(other.model), other, mesh).params
    with pytest.raises(ValueError, match=r"another model: .* of another shape"):
        checkpoint.load_parts(str(workdir), shapes, ("vit",))


def test_a_fresh_encoder_is_the_one_that_the_run_started_with(world):
    made = make_config(world, "aim")
    mesh, model = sharding.make_mesh(made.mesh), vlm.build(made.model)
    key = jax.random.key(made.seed)
    whole = step.init_state(model, made, mesh, key).params["vit"]
    alone = encoder_steps.init_encoder(model, made, mesh, key)
    for path, leaf in optim.flatten(whole).items():
        np.testing.assert_array_equal(leaf, optim.flatten(alone)[path], path)


def test_labels_are_of_the_record_or_of_the_scene():
    meta = {"scenes": ["large red circle on striped dark grey"]}
    document = tiny_document(meta)
    assert run_probe.labels_of(document) == {
        "size": "large", "colour": "red", "shape": "circle", "texture": "striped",
        "background": "dark grey",
    }  # fmt: skip
    assert run_probe.labels_of(tiny_document({"labels": {"cat": 1}})) == {"cat": "1"}
    assert scenes.looks("small red star, small blue ring on plain navy") == {}
    assert run_probe.labels_of(tiny_document({})) == {}


def tiny_document(meta):
    return Document((Text("a"),), "", "", "", meta=meta)
