"""Two towers: what a pair's vectors depend on, and what they don't."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pair_samples
import pytest

from mmjax.models import vlm

ROWS = [[[1, "slot 0", 5, 6], [1, 7, "slot 1", 8]], [[1, "slot 2", 9, 4, 3]]]


pytestmark = pytest.mark.usefixtures("quick_compilation")


@functools.cache
def made(pool: str = "mean"):
    """The model's apply, and its parameters."""
    model = pair_samples.model("contrastive", class_token=pool == "class_token")
    model.objective.contrast.pool = pool
    built = vlm.build(model)
    return built.apply, jax.jit(built.init)(jax.random.key(0))


def vectors(batch, pool="mean"):
    apply, params = made(pool)
    return jax.jit(apply)(params, batch)


@pytest.mark.slow
def test_vectors_of_a_pair_do_not_depend_on_how_it_is_packed():
    packed = vectors(pair_samples.batch(ROWS, 16, 4))
    documents = [document for row in ROWS for document in row]
    alone = vectors(pair_samples.batch([[d] for d in documents], 16, 4))
    assert packed.valid_ZC.tolist() == alone.valid_ZC.tolist() == [[True] * 3 + [False]]
    for name in ("images_ZCY", "texts_ZCY"):
        ours, theirs = (getattr(x, name)[0, :3] for x in (packed, alone))
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
        np.testing.assert_allclose(jnp.sum(ours * ours, axis=-1), 1, atol=1e-5)


def test_a_text_is_read_as_if_its_document_had_no_image():
    here = vectors(pair_samples.batch([[[1, "slot 0", 5, 6]]], 8, 1))
    there = vectors(pair_samples.batch([[[1, 5, "slot 0", 6]]], 8, 1))
    np.testing.assert_allclose(here.texts_ZCY, there.texts_ZCY, atol=2e-6)


def test_no_image_reaches_a_text_and_no_text_an_image():
    batch = pair_samples.batch(ROWS, 16, 4)
    apply, params = made()

    def parts(pixels, embedding):
        decoder = {**params["decoder"], "embedding": embedding}
        out = apply({**params, "decoder": decoder}, batch._replace(pixels_ZChwc=pixels))
        return out.images_ZCY[0, 0, 0], out.texts_ZCY[0, 0, 0]

    pixels = batch.pixels_ZChwc.astype(np.float32)
    table = params["decoder"]["embedding"]
    slopes = jax.jit(jax.jacrev(parts, argnums=(0, 1)))(pixels, table)
    (image_pixels, image_words), (text_pixels, text_words) = slopes
    assert jnp.any(image_pixels[0, 0] != 0)
    assert jnp.any(text_words != 0)
    assert jnp.all(text_pixels == 0)
    assert jnp.all(image_words == 0)
    assert jnp.all(image_pixels[0, 1:] == 0)  # nor does another image
    read = set(np.flatnonzero(np.asarray(text_words != 0).any(axis=1)))
    assert read == {1, 5, 6}  # its own words alone, and not the image's token, 0


@pytest.mark.parametrize("pool", ["mean", "class_token"])
def test_both_poolings_see_the_image(pool):
    batch = pair_samples.batch(ROWS, 16, 4)
    one = vectors(batch, pool)
    two = vectors(batch._replace(pixels_ZChwc=255 - batch.pixels_ZChwc), pool)
    assert float(jnp.abs(one.images_ZCY - two.images_ZCY).max()) > 1e-3


def test_scale_and_bias_start_as_configured_and_a_softmax_has_no_bias():
    out = vectors(pair_samples.batch(ROWS, 16, 4))
    assert float(out.scale) == pytest.approx(10)
    assert float(out.bias) == -10
    model = pair_samples.model("contrastive")
    model.objective.contrast.loss = "softmax"
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    assert set(shapes) == {"vit", "decoder", "contrast"}
    assert set(shapes["contrast"]) == {"image", "text", "log_scale"}
