import jax
import model_samples
import numpy as np
import pytest
import synthetic

from mmjax import config
from mmjax.models import connectors


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with synthetic.quick_compilation():
        yield


FEATURES = jax.random.normal(jax.random.key(0), (2, 3, 16, 8))  # Z C P E, a 4 x 4 grid


def connect(kind: str, tokens: int, depth: int = 1, features=FEATURES):
    model = model_samples.model()
    model.vit.image_size = 16
    model.connector = config.Connector(kind=kind, tokens=tokens, depth=depth, heads=2)
    module = connectors.CONNECTORS[kind](model)
    params = jax.jit(module.init)(jax.random.key(1), FEATURES)
    return jax.jit(module.apply)(params, features), params["params"]


@pytest.mark.parametrize(
    ("kind", "tokens"), [("average_pool", 4), ("mlp", 16), ("perceiver", 3)]
)
def test_every_image_becomes_tokens_of_the_decoder_s_width(kind, tokens):
    out, _ = connect(kind, tokens)
    assert out.shape == (2, 3, tokens, 16)
    changed, _ = connect(kind, tokens, features=FEATURES.at[0, 1].mul(-1))
    different = np.zeros((2, 3), bool)
    different[0, 1] = True
    np.testing.assert_array_equal((out != changed).any((-1, -2)), different)


def test_average_pool_takes_the_mean_of_each_square():
    out, params = connect("average_pool", 4)
    grid = np.asarray(FEATURES).reshape(2, 3, 4, 4, 8)
    for token in range(4):
        top, left = 2 * (token // 2), 2 * (token % 2)
        mean = grid[:, :, top : top + 2, left : left + 2].mean((2, 3))
        expected = mean @ params["project"]["kernel"] + params["project"]["bias"]
        np.testing.assert_allclose(out[:, :, token], expected, rtol=1e-4, atol=1e-5)


def test_the_mlp_connector_maps_each_patch_alone():
    out, _ = connect("mlp", 16)
    changed, _ = connect("mlp", 16, features=FEATURES.at[:, :, 5].add(1))
    assert set(np.argwhere((out != changed).any(-1))[:, 2]) == {5}


def test_the_perceiver_doesn_t_see_the_order_of_patches():
    out, params = connect("perceiver", 3, depth=2)
    reordered, _ = connect("perceiver", 3, depth=2, features=FEATURES[:, :, ::-1])
    np.testing.assert_allclose(out, reordered, atol=1e-5)
    assert params["blocks"]["attention"]["query"]["kernel"].shape == (2, 16, 2, 8)
