import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest
from short_form import slow_unless

from mmjax import config, optim
from mmjax.models import decoder, vlm

pytestmark = pytest.mark.usefixtures("quick_compilation")


SEGMENTS = np.array([[[1, 1, 1, 2, 2, 2, 2, 3, 0, 0]]], np.int32)
POSITIONS = np.array([[[0, 1, 2, 0, 1, 2, 3, 0, 0, 0]]], np.int32)


def hidden(model, params, x, segments=SEGMENTS, positions=POSITIONS):
    module = decoder.Decoder(model)
    segments, positions = jnp.asarray(segments), jnp.asarray(positions)
    apply = jax.jit(module.apply)
    return apply({"params": params["decoder"]}, x, segments, positions)[0]


@pytest.mark.parametrize("backend", ["blocked", "reference"])
def test_no_token_sees_the_future_or_another_document(backend):
    model = model_samples.model(attention=backend)
    params = model_samples.parameters(model)
    x = jax.random.normal(jax.random.key(2), (1, 1, 10, 16))

    def each(x):
        return jnp.sum(jnp.sin(hidden(model, params, x)), axis=-1)[0, 0]

    jacobian = jax.jit(jax.jacrev(each))(x)  # [T, 1, 1, S, D]
    reach = np.abs(jacobian).sum(-1)[:, 0, 0]
    for t, s in np.ndindex(reach.shape):
        allowed = s <= t and SEGMENTS[0, 0, t] == SEGMENTS[0, 0, s]
        assert (reach[t, s] > 0) == allowed


def test_positions_count_not_places():
    model = model_samples.model()
    params = model_samples.parameters(model)
    x = jax.random.normal(jax.random.key(2), (1, 1, 3, 16))
    one = np.ones((1, 1, 3), np.int32)
    near = hidden(model, params, x, one, np.array([[[0, 1, 2]]]))
    shifted = hidden(model, params, x, one, np.array([[[50, 51, 52]]]))
    spread = hidden(model, params, x, one, np.array([[[0, 10, 20]]]))
    np.testing.assert_allclose(near, shifted, atol=1e-4)
    assert np.abs(near - spread).max() > 1e-2


@pytest.mark.parametrize(("layers", "period"), [(6, 2), (7, 3), (2, 3)])
@pytest.mark.parametrize("remat", slow_unless(["none", "full"], ["full"]))
def test_layers_in_groups_are_the_layers_one_by_one(layers, period, remat, monkeypatch):
    model = model_samples.model()
    model.decoder.layers, model.decoder.remat = layers, remat
    params = model_samples.parameters(model)
    x = jax.random.normal(jax.random.key(2), (1, 1, 10, 16))
    uniform = hidden(model, params, x)
    monkeypatch.setattr(config, "layer_period", lambda decoder: period)
    grouped = optim.flatten(params["decoder"])
    blocks = {p: x for p, x in grouped.items() if p.startswith("blocks/")}
    grouped = {p: x for p, x in grouped.items() if p not in blocks}
    for stack in config.layer_stacks(model.decoder):
        for path, value in blocks.items():
            name = path.replace("blocks", stack.folder, 1)
            grouped[name] = value[np.array(stack.layers)]
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))["decoder"]
    assert {p: x.shape for p, x in grouped.items()} == {
        p: x.shape for p, x in optim.flatten(shapes).items()
    }
    params = {"decoder": optim.unflatten(grouped)}
    np.testing.assert_allclose(hidden(model, params, x), uniform, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("period", [1, 2, 3, 9])
def test_every_layer_stands_in_one_stack_at_its_place(period, monkeypatch):
    monkeypatch.setattr(config, "layer_period", lambda decoder: period)
    stacks = config.layer_stacks(config.Decoder(layers=8))
    assert sorted(n for stack in stacks for n in stack.layers) == list(range(8))
    assert all(n % period == stack.place for stack in stacks for n in stack.layers)
    assert len({stack.folder for stack in stacks}) == len(stacks)
