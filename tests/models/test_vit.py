"""The encoder: patches, its options one by one, and two encoders joined."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import model_samples
import numpy as np
import pytest

from mmjax import config, optim
from mmjax.models import vit

pytestmark = pytest.mark.usefixtures("quick_compilation")


# What differs from the small model's encoder: 8 pixels, 2 x 2 patches, 2 layers.
OPTIONS = {
    "plain": {},
    "clip": {"class_token": True, "embedding_norm": "tokens", "patch_bias": False},
    "siglip": {"activation": "gelu_tanh", "mean": (0.5,) * 3, "std": (0.5,) * 3},
    "dinov2": {
        "class_token": True, "registers": 3, "layer_scale": 1.0, "activation": "gelu",
        "position_grid": 3, "position_resize": "torch_bicubic",
    },
    "dinov2 giant": {
        "class_token": True, "layer_scale": 0.1, "gated": True, "activation": "silu",
        "position_grid": 3, "position_resize": "cubic",
    },
    "aim": {
        "embedding_norm": "patches", "positions": "fixed", "attention_bias": False,
        "mlp_bias": False, "activation": "gelu",
    },
    "aimv2": {
        "embedding_norm": "patches", "norm": "rms", "gated": True,
        "activation": "silu", "attention_bias": False, "mlp_bias": False,
    },
    "second to last": {"features": -2, "registers": 1},
}  # fmt: skip


def encoder(**fields) -> config.ViT:
    """The small model's encoder with other fields."""
    return dataclasses.replace(model_samples.model().vit, **fields)


def pixels(side=model_samples.SIDE):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, 3, side, side, 3), dtype=np.uint8)


def parameters(module: nn.Module):
    """Parameters in which nothing is zero or one by chance."""
    rng = np.random.default_rng(1)
    images = jnp.asarray(pixels())
    shapes = jax.eval_shape(module.init, jax.random.key(0), images)["params"]
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype), shapes
    )


def run(module: nn.Module, params, images) -> jax.Array:
    """What a module makes of images."""
    return jax.jit(module.apply)({"params": params}, jnp.asarray(images))


def features(made: config.ViT, images, **replaced):
    """Features with the usual parameters, some of them replaced by path."""
    module = vit.ViT(made, "float32")
    params = optim.unflatten(optim.flatten(parameters(module)) | replaced)
    return run(module, params, images)


def test_patches_are_normalized_squares_in_reading_order():
    images, made = pixels(), encoder(std=(0.5, 0.25, 2.0))
    patches = vit.patchify(jnp.asarray(images), made, "float32")
    for z, c, p in np.ndindex(2, 3, 4):
        top, left = 4 * (p // 2), 4 * (p % 2)
        square = images[z, c, top : top + 4, left : left + 4] / 255
        expected = (square - np.array(made.mean)) / np.array(made.std)
        np.testing.assert_allclose(patches[z, c, p], expected.reshape(-1), atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_image_s_features_depend_on_itself_alone(name):
    images, made = pixels(), encoder(**OPTIONS[name])
    before = features(made, images)
    images[1, 2] = 0
    after = features(made, images)
    changed = np.zeros((2, 3), bool)
    changed[1, 2] = True
    assert before.shape == (2, 3, 4, 8)
    np.testing.assert_array_equal((before != after).any((-1, -2)), changed)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_parameter_matters_and_computes_in_the_dtype(name):
    module = vit.ViT(encoder(**OPTIONS[name]), "float32")
    images = jnp.asarray(pixels())

    def total(params):
        return jnp.sum(jnp.sin(module.apply({"params": params}, images)))

    gradients = jax.jit(jax.grad(total))(parameters(module))
    for path, gradient in optim.flatten(gradients).items():
        # Softmax takes no notice of what all keys have in common.
        if not path.endswith("attention/key/bias"):
            assert np.abs(gradient).max() > 1e-6, path
    half = vit.ViT(module.vit, "bfloat16")
    assert jax.eval_shape(half.init_with_output, jax.random.key(0), images)[
        0
    ].dtype == (jnp.bfloat16)


def test_only_options_that_are_on_have_parameters():
    paths = optim.flatten(parameters(vit.ViT(encoder(**OPTIONS["aim"]), "float32")))
    assert sorted(path for path in paths if path.endswith("bias")) == [
        "blocks/norm_attention/bias", "blocks/norm_mlp/bias", "norm/bias",
        "norm_embedding/bias", "patch_embed/bias",
    ]  # fmt: skip
    assert "positions" not in paths
    paths = optim.flatten(parameters(vit.ViT(encoder(**OPTIONS["clip"]), "float32")))
    assert "patch_embed/bias" not in paths
    assert {"class_token", "class_position"} <= set(paths)


def test_order_of_patches_matters():
    images = pixels()
    swapped = np.concatenate([images[:, :, 4:], images[:, :, :4]], axis=2)
    order = np.array([2, 3, 0, 1])
    for made in encoder(), encoder(positions="fixed"):
        moved = features(made, images)[:, :, order] - features(made, swapped)
        assert np.abs(moved).max() > 1e-3


def test_the_class_token_has_a_position_of_its_own():
    made = encoder(class_token=True)
    params = optim.flatten(parameters(vit.ViT(made, "float32")))
    both = params["class_token"] + params["class_position"]
    moved = {"class_token": both, "class_position": 0 * both}
    before = features(made, pixels())
    np.testing.assert_allclose(features(made, pixels(), **moved), before, atol=1e-5)
    assert np.abs(features(made, pixels(), class_token=both) - before).max() > 1e-3


def test_layers_after_the_features_are_not_part_of_the_model():
    whole, cut = encoder(), encoder(layers=4, features=-3)
    params = parameters(vit.ViT(whole, "float32"))
    fewer = {name: part for name, part in params.items() if name != "norm"}
    shapes = parameters(vit.ViT(cut, "float32"))
    assert jax.tree.map(np.shape, fewer) == jax.tree.map(np.shape, shapes)
    found = run(vit.ViT(cut, "float32"), fewer, pixels())
    norm = vit.norm(whole, "norm")
    normed = norm.apply({"params": params["norm"]}, found)
    np.testing.assert_allclose(normed, features(whole, pixels()), atol=1e-5)
    assert np.abs(normed - found).max() > 1e-2


def test_layer_scales_start_where_the_config_says():
    module = vit.ViT(encoder(layer_scale=0.25), "float32")
    images = jnp.asarray(pixels())
    blocks = jax.jit(module.init)(jax.random.key(0), images)["params"]["blocks"]
    for name in "scale_attention", "scale_mlp":
        np.testing.assert_array_equal(blocks[name]["scale"], np.full((2, 8), 0.25))


def test_larger_images_get_resized_positions():
    assert features(encoder(), pixels(side=16)).shape == (2, 3, 16, 8)


def test_the_table_of_positions_has_the_grid_that_it_was_learned_on():
    made = encoder(position_grid=5)
    assert parameters(vit.ViT(made, "float32"))["positions"].shape == (25, 8)
    assert features(made, pixels()).shape == (2, 3, 4, 8)


@pytest.mark.parametrize("special", [{}, {"class_token": True, "registers": 2}])
def test_after_the_prefix_no_patch_sees_a_later_one(special):
    made = encoder(image_size=12, layers=1, **special)
    module = vit.ViT(made, "float32")
    params = parameters(module)
    prefix_ZC = jnp.array([[0, 4, 9]])
    images = jnp.asarray(pixels(side=12)[:1], jnp.float32)

    def total(images, patch):
        return jnp.sum(
            module.apply({"params": params}, images, prefix_ZC)[:, :, patch] ** 2
        )

    gradients = jax.jit(jax.vmap(jax.grad(total), (None, 0)))(images, jnp.arange(9))
    for patch in range(9):
        squares = gradients[patch].reshape(3, 3, 4, 3, 4, 3)
        seen = np.abs(squares).max(axis=(2, 4, 5)).reshape(3, 9) > 0
        expected = [
            [other <= patch or other < prefix for other in range(9)]
            for prefix in prefix_ZC[0]
        ]
        np.testing.assert_array_equal(seen, expected)
    whole = run(module, params, images)
    with_prefix = module.apply({"params": params}, images, prefix_ZC)
    np.testing.assert_allclose(whole[:, 2], with_prefix[:, 2], rtol=1e-5, atol=1e-6)


def two_encoders(**fields) -> config.Model:
    """The small model with an encoder of width 12 beside its own."""
    made = model_samples.model()
    fields = {"width": 12, "heads": 3, "enabled": True} | fields
    made.second_vit = config.SecondViT(**(vars(made.vit) | fields))
    return made


class Encoders(nn.Module):
    """The encoders of a model, by themselves."""

    model: config.Model

    @nn.compact
    def __call__(self, images):
        return vit.encode(self.model, images)


def test_two_encoders_see_the_same_pixels_and_are_joined_by_channel():
    made = two_encoders(mean=(0.5,) * 3, std=(0.5,) * 3, registers=1)
    module = Encoders(made)
    params = parameters(module)
    joined = run(module, params, pixels())
    assert joined.shape[-1] == config.encoder_width(made) == 8 + 12
    alone = [
        run(vit.ViT(part, "float32"), params[name], pixels())
        for name, part in (("vit", made.vit), ("second_vit", made.second_vit))
    ]
    np.testing.assert_allclose(joined, jnp.concatenate(alone, axis=-1), atol=1e-6)


def test_the_second_encoder_sees_images_in_its_own_size():
    made = two_encoders(image_size=12, patch_size=6)
    module = Encoders(made)
    params = parameters(module)
    params["vit"] = jax.tree.map(jnp.zeros_like, params["vit"])
    images = np.full((1, 1, 8, 8, 3), 200, np.uint8)  # of one colour in any size
    larger = np.full((1, 1, 12, 12, 3), 200, np.uint8)
    second = vit.ViT(made.second_vit, "float32")
    expected = run(second, params["second_vit"], larger)
    found = run(module, params, images)[..., 8:]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_resizing_averages_the_pixels_that_it_drops():
    board = np.indices((8, 8)).sum(0) % 2 * 200
    images = np.broadcast_to(board[..., None], (1, 1, 8, 8, 3)).astype(np.uint8)
    np.testing.assert_allclose(vit.resize(jnp.asarray(images), 4), 100.0, atol=20)
    corner = np.zeros((1, 1, 8, 8, 3), np.uint8)
    corner[..., :4, :4, 0] = 255  # the upper left, red, stays there
    small = vit.resize(jnp.asarray(corner), 4)
    np.testing.assert_allclose(small[0, 0, 0, 0], [255, 0, 0], rtol=1e-6)
    assert float(small[..., 1:].max()) == float(small[0, 0, 3].max()) == 0
