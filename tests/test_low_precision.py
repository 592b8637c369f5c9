"""Training with quantized products: equal on every mesh, and what is left alone."""

import dataclasses
import sys

import jax
import jaxprs
import numpy as np
import pytest
import synthetic
import tiny_run

from data_pipelines import pipeline
from mmjax import checkpoint, run_setup, sharding, step
from mmjax import config as config_lib
from mmjax.config import Config
from mmjax.generation import speaker
from mmjax.models import vlm

KINDS = [kind for kind in config_lib.QUANTIZATIONS if kind != "none"]

pytestmark = pytest.mark.usefixtures("quick_compilation")


def made(kind: str, **changes) -> Config:
    """The synthetic config with encoder and decoder of this kind."""
    config = dataclasses.replace(synthetic.config(), **changes)
    config.model.vit.quantization = config.model.decoder.quantization = kind
    return config


def run(kind: str, shape: tuple[int, int, int]) -> synthetic.Run:
    """The compiled run of a kind on a mesh."""
    config = made(kind)
    compiled = synthetic.lower(config, shape).compile()
    return synthetic.Run(
        config, synthetic.mesh(shape), vlm.build(config.model), compiled
    )


def gradients(run: synthetic.Run) -> tuple[float, np.ndarray]:
    """Loss of the first step and its gradients, as one vector."""
    state, history = run.train(run.state(), 0, 1)
    moments = jax.device_get(jax.tree.leaves(state.opt_state[1].mu))
    return synthetic.losses(history)[0], np.concatenate([x.ravel() for x in moments])


def sizes(run: synthetic.Run) -> dict[str, list[int]]:
    """Numbers of the arrays that each kind of collective makes."""
    found: dict[str, list[int]] = {}
    for operation, _, size in synthetic.collectives(run.train_step.as_text()):
        found.setdefault(operation, []).append(size)
    return found


FSDP_AND_TENSOR = (1, 2, 4)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        pytest.param("int8", synthetic.EIGHT, marks=pytest.mark.slow),
        pytest.param("int8", FSDP_AND_TENSOR, marks=pytest.mark.slow),
        pytest.param("fp8", synthetic.EIGHT, marks=pytest.mark.slow),
        pytest.param("fp8", FSDP_AND_TENSOR, marks=pytest.mark.slow),
    ],
)
def test_a_mesh_changes_neither_loss_nor_gradients_and_moves_no_more_than_the_steps(
    kind, shape
):
    one, spread, plain = run(kind, synthetic.ONE), run(kind, shape), run("none", shape)
    (loss, expected), (other, got) = gradients(one), gradients(spread)
    assert other == pytest.approx(loss, rel=1e-5)
    difference = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert difference < 1e-4
    found, before = sizes(spread), sizes(plain)
    assert found.keys() <= before.keys()
    for operation, arrays in found.items():
        assert max(arrays) <= max(before[operation]), operation
    # One number a row or output instead of the array that it is of.
    more = sum(found["all-reduce"]) - sum(before["all-reduce"])
    assert more < 0.05 * sum(before["all-reduce"])


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_weights_of_layers_are_quantized_and_no_others(kind):
    def narrow(kind):
        config = made(kind)
        model = vlm.build(config.model)
        batch = synthetic.batch(config, 0)
        params = jax.eval_shape(model.init, jax.random.key(0))

        def total(params):
            return model.apply(params, batch).hidden_ZRTD.sum()

        return jaxprs.products(jax.make_jaxpr(jax.grad(total))(params).jaxpr)

    layers = synthetic.config().model.decoder.layers
    assert layers == synthetic.config().model.vit.layers == 2
    before, after = narrow("none"), narrow(kind)
    assert sum(before.values()) == sum(after.values())
    eight = sum(n for bits, n in after.items() if bits == (8, 8))
    # Query, key, value, out; up, gate, down; an encoder's MLP has no gate.
    kernels = layers * (7 + 6)
    assert eight == kernels * {"int8": 2, "fp8": 3}[kind]
    assert set(after) == {(8, 8), (32, 32)}


@pytest.mark.slow
def test_a_checkpoint_of_a_quantized_run_is_one_of_any_run(tmp_path):
    eight, plain = run("int8", synthetic.ONE), run("none", synthetic.ONE)
    state, _ = eight.train(eight.state(), 0, 3)
    settings = config_lib.Checkpoint(asynchronous=False)
    writer = checkpoint.Checkpointer(str(tmp_path), settings)
    writer.save(3, state, {"step": 3})
    found = writer.restore(step.abstract_state(plain.model, plain.config, plain.mesh))
    writer.close()
    assert found is not None
    assert {x.dtype.name for x in jax.tree.leaves(found[0].params)} == {"float32"}
    went_on = eight.train(state, 3, 4)[1], plain.train(found[0], 3, 4)[1]
    quantized, exact = (synthetic.losses(history)[0] for history in went_on)
    assert quantized != exact
    assert quantized == pytest.approx(exact, rel=0.01)


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> dict[str, float]:
    """Mean loss of the last 20 of 80 steps on the sample world, by quantization."""
    config = tiny_run.make_config(tmp_path_factory.mktemp("world"))
    config.mesh, config.steps, config.optim.warmup_steps = config_lib.Mesh(), 80, 10
    config.model.decoder.width, config.model.decoder.mlp_width = 64, 128
    config.model.vit.width, config.model.vit.mlp_width = 64, 128
    run_setup.make_sample_world(config)
    mesh = sharding.make_mesh(config_lib.Mesh(1, 1, 1), jax.devices()[:1])
    stream = run_setup.stream(config, mesh, pipeline.open(config))
    found = {}
    for kind in config_lib.QUANTIZATIONS:
        config.model.vit.quantization = config.model.decoder.quantization = kind
        model = vlm.build(config.model)
        train_step = step.make_train_step(model, config, mesh)
        state = step.init_state(model, config, mesh, jax.random.key(0))
        feed, history = stream.feed(0, config.steps), []
        for _ in range(config.steps):
            state, metrics = train_step(state, feed.take(lambda: True)[0])
            history.append(jax.device_get(metrics))
        feed.close()
        found[kind] = float(np.mean(synthetic.losses(history)[-20:]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_as_far_as_without_quantization(learned, kind):
    assert learned["none"] < 4  # of 6, when the run begins
    assert learned[kind] != learned["none"]
    assert learned[kind] == pytest.approx(learned["none"], abs=0.05)


def test_what_is_asked_of_a_model_besides_its_loss_needs_no_qwix(monkeypatch):
    config = made("fp8")
    monkeypatch.setitem(sys.modules, "qwix", None)
    model, batch = vlm.build(config.model), synthetic.batch(config, 0)
    params = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ImportError):
        jax.eval_shape(model.apply, params, batch)
    encode, functions = vlm.build_encoder(config.model), speaker.make(config.model)
    jax.eval_shape(encode, params["vit"], batch.pixels_ZChwc)
    weights = jax.eval_shape(functions.prepare, params)
    lengths_ZR = np.full(batch.tokens_ZRT.shape[:2], 4, np.int32)
    jax.eval_shape(functions.read, weights, batch, lengths_ZR)
