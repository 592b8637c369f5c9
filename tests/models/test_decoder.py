import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest
import synthetic

from mmjax.models import decoder
from mmjax.ops import attention


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with synthetic.quick_compilation():
        yield


SEGMENTS = np.array([[[1, 1, 1, 2, 2, 2, 2, 3, 0, 0]]], np.int32)
POSITIONS = np.array([[[0, 1, 2, 0, 1, 2, 3, 0, 0, 0]]], np.int32)


def hidden(model, params, x, segments=SEGMENTS, positions=POSITIONS):
    module = decoder.Decoder(model)
    segments, positions = jnp.asarray(segments), jnp.asarray(positions)
    apply = jax.jit(module.apply)
    return apply({"params": params["decoder"]}, x, segments, positions)


@pytest.mark.parametrize("backend", attention.BACKENDS)
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
