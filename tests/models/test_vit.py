import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest
import synthetic

from mmjax.models import vit


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation():
    with synthetic.quick_compilation():
        yield


def pixels(side=model_samples.SIDE):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, 3, side, side, 3), dtype=np.uint8)


def test_patches_are_normalized_squares_in_reading_order():
    images = pixels()
    made = model_samples.model().vit
    made.std = (0.5, 0.25, 2.0)
    patches = vit.patchify(jnp.asarray(images), made, "float32")
    for z, c, p in np.ndindex(2, 3, 4):
        top, left = 4 * (p // 2), 4 * (p % 2)
        square = images[z, c, top : top + 4, left : left + 4] / 255
        expected = (square - np.array(made.mean)) / np.array(made.std)
        np.testing.assert_allclose(patches[z, c, p], expected.reshape(-1), atol=1e-5)


def features(images):
    model = model_samples.model()
    params = model_samples.parameters(model)["vit"]
    module = vit.ViT(model.vit, "float32")
    return jax.jit(module.apply)({"params": params}, jnp.asarray(images))


def test_an_image_s_features_depend_on_itself_alone():
    images = pixels()
    before = features(images)
    images[1, 2] = 0
    after = features(images)
    changed = np.zeros((2, 3), bool)
    changed[1, 2] = True
    np.testing.assert_array_equal((before != after).any((-1, -2)), changed)


def test_order_of_patches_matters():
    images = pixels()
    swapped = np.concatenate([images[:, :, 4:], images[:, :, :4]], axis=2)
    order = np.array([2, 3, 0, 1])
    assert np.abs(features(images)[:, :, order] - features(swapped)).max() > 1e-3


def test_larger_images_get_resized_positions():
    assert features(pixels(side=16)).shape == (2, 3, 16, 8)
