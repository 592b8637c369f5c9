"""Sparse upcycling: the new model is the dense one until it is trained."""

import jax
import model_samples
import numpy as np
import pytest
import synthetic

from mmjax import checkpoint, config, sharding, step, upcycle
from mmjax.config import Moe
from mmjax.models import vlm

pytestmark = pytest.mark.usefixtures("quick_compilation")


def made(**moe) -> config.Config:
    """A run of the small model with 5 layers, of which 1 and 3 have experts."""
    model = model_samples.model()
    model.decoder.layers = 5
    model.decoder.moe = Moe(experts=4, **moe)
    run = synthetic.config()
    run.model, run.mesh = model, config.Mesh(data=1, fsdp=2, tensor=2, expert=2)
    return run


BATCH = model_samples.batch([[[3, 4, 5], [1, "slot 0", 7]]], tokens=12, slots=1)


@pytest.mark.parametrize(
    "moe",
    [{}]
    + [
        pytest.param(moe, marks=pytest.mark.slow)
        for moe in ({"capacity_factor": 9.0}, {"every": 1})
    ],
)
def test_an_upcycled_checkpoint_gives_the_logits_of_the_dense_one(moe, tmp_path):
    run = made(**moe)
    dense = upcycle.dense_model(run.model)
    params = model_samples.parameters(dense)
    checkpoint.save_weights(str(tmp_path / "dense"), params, {})
    target = str(tmp_path / "sparse")
    (told,) = upcycle.run(run, str(tmp_path / "dense"), target)
    assert target in told
    mesh = sharding.make_mesh(run.mesh)
    shapes = step.abstract_state(vlm.build(run.model), run, mesh).params
    sparse = checkpoint.load_weights(target, shapes)
    np.testing.assert_allclose(
        model_samples.logits(run.model, jax.device_get(sparse), BATCH)[0, 0, :7],
        model_samples.logits(dense, params, BATCH)[0, 0, :7],
        rtol=2e-5,
        atol=2e-5,
    )


CROSSED = model_samples.batch(
    [[[3, 4, 5], [1, "slot 0", 7]]], tokens=12, slots=1, positions_of_image=1
)


@pytest.mark.parametrize(
    "held", ["plain", pytest.param("crossed", marks=pytest.mark.slow)]
)
def test_blocks_that_look_at_images_start_shut_or_as_they_were(held, tmp_path):
    run = made(every=4)
    run.model.decoder.cross_attention.every = 2
    dense = upcycle.dense_model(run.model, crossed=held == "crossed")
    params = model_samples.parameters(dense)
    checkpoint.save_weights(str(tmp_path / "dense"), params, {})
    list(upcycle.run(run, str(tmp_path / "dense"), str(tmp_path / "new")))
    mesh = sharding.make_mesh(run.mesh)
    shapes = step.abstract_state(vlm.build(run.model), run, mesh).params
    found = jax.device_get(checkpoint.load_weights(str(tmp_path / "new"), shapes))
    rows = CROSSED
    if held == "plain":  # which splices images in, where the new model has marks
        rows = CROSSED._replace(images_ZRT=np.full_like(CROSSED.images_ZRT, -1))
    np.testing.assert_allclose(
        model_samples.logits(run.model, found, CROSSED)[0, 0, :6],
        model_samples.logits(dense, params, rows)[0, 0, :6],
        rtol=2e-5,
        atol=2e-5,
    )


def test_a_decoder_alone_becomes_a_decoder_alone(tmp_path):
    run = made()
    params = model_samples.parameters(upcycle.dense_model(run.model))
    checkpoint.save_weights(str(tmp_path / "dense"), {"decoder": params["decoder"]}, {})
    list(upcycle.run(run, str(tmp_path / "dense"), str(tmp_path / "new")))
    stored = checkpoint.look(str(tmp_path / "new")).stored
    assert {path.partition("/")[0] for path in stored} == {"decoder"}
    assert any("/moe/router/" in path for path in stored)


def test_routers_differ_between_layers_and_follow_the_seed():
    run = made()
    params = model_samples.parameters(upcycle.dense_model(run.model))
    mesh = sharding.make_mesh(config.Mesh(1, 1, 1), jax.devices()[:1])
    routers = [
        upcycle.upcycled(run.model, params, mesh, seed)["decoder"]["blocks"]["layer1"][
            "moe"
        ]["router"]["kernel"]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(routers[0], routers[1])
    assert np.abs(routers[0] - routers[2]).max() > 0.1
    assert np.abs(routers[0][0] - routers[0][1]).max() > 0.1


def test_what_can_t_be_upcycled_is_refused(tmp_path):
    run = made()
    run.model.decoder.moe.experts = 0
    with pytest.raises(ValueError, match=r"moe.experts=0: must be positive"):
        list(upcycle.run(run, "dense", str(tmp_path / "new")))
    with pytest.raises(ValueError, match="is there already"):
        list(upcycle.run(made(), "dense", str(tmp_path)))
    with pytest.raises(ValueError, match="--from is missing"):
        upcycle.main(["upcycle", "--config=configs/mm1_3b_moe.py", "--to=x"])
    other = model_samples.model()
    checkpoint.save_weights(
        str(tmp_path / "other"), model_samples.parameters(other), {}
    )
    with pytest.raises(ValueError, match="belongs to another model"):
        list(upcycle.run(made(), str(tmp_path / "other"), str(tmp_path / "new")))
