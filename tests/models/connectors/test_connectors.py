"""What holds of every connector."""

import connector_samples as samples
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic

from mmjax import config, sharding
from mmjax.models import connectors

pytestmark = pytest.mark.usefixtures("quick_compilation")


KINDS = sorted(connectors.CONNECTORS)


def first(kinds, *shown):
    """The kinds as parameters of a test; all but the shown ones are slow."""
    return [
        kind if kind in shown else pytest.param(kind, marks=pytest.mark.slow)
        for kind in kinds
    ]


@pytest.mark.parametrize("kind", first(KINDS, "c_abstractor", "qformer"))
def test_an_image_s_tokens_follow_from_all_of_its_patches_and_no_other_image(kind):
    made = samples.model(kind)
    params = samples.noise(made)
    out = samples.connect(made, params)
    assert out.shape == (2, 3, samples.TOKENS[kind], samples.OUT)

    def of_one_image(features):
        return jnp.sin(samples.module(made).apply({"params": params}, features))[0, 1]

    slope = jax.jit(jax.grad(lambda x: of_one_image(x).sum()))(samples.FEATURES)
    reached = np.zeros((2, 3, samples.GRID**2), bool)
    reached[0, 1] = True
    np.testing.assert_array_equal((slope != 0).any(-1), reached)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_fresh_tokens_have_neither_lost_nor_gained_scale(kind):
    """Of features of unit variance at the sizes of a real connector."""
    made = config.Model(
        vit=config.ViT(image_size=56, patch_size=14, width=128, remat="none"),
        decoder=config.Decoder(width=192),
        dtype="float32",
    )
    small = samples.model(kind).connector
    small.tokens, small.depth = 16, 1
    small.c_abstractor = config.CAbstractor(width=96)
    small.qformer = config.QFormer(width=96, layers=4, heads=4, mlp_width=384)
    made.connector = small
    features = jax.random.normal(jax.random.key(2), (1, 6, 16, 128))
    out = samples.connect(made, samples.fresh(made, features), features)
    assert 0.5 < np.std(out) < 2, np.std(out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_of_activations_only(kind):
    made = samples.model(kind)
    params = samples.noise(made)
    exact = samples.connect(made, params)
    made.dtype, features = "bfloat16", samples.FEATURES.astype(jnp.bfloat16)
    shapes = jax.eval_shape(samples.module(made).init, jax.random.key(0), features)
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    near = samples.connect(made, params, features)
    assert near.dtype == jnp.bfloat16
    np.testing.assert_allclose(near, exact, atol=0.05 * np.abs(exact).max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "remat"),
    [("c_abstractor", "full"), ("perceiver", "dots"), ("qformer", "full")],
)
def test_what_the_backward_pass_keeps_changes_no_gradient(kind, remat):
    def gradients(remat):
        made = samples.model(kind)
        made.connector.remat = remat
        module = samples.module(made)

        def total(params, features):
            return jnp.sin(module.apply({"params": params}, features)).sum()

        step = jax.jit(jax.grad(total, argnums=(0, 1)))
        return step(samples.noise(made), samples.FEATURES)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        gradients(remat),
        gradients("none"),
    )


@pytest.mark.parametrize("kind", first(KINDS, "c_abstractor"))
def test_a_mesh_of_devices_gives_the_tokens_of_one(kind):
    """Images lie over all axes of the mesh, parameters as the sharding table says."""
    made, mesh = samples.model(kind), synthetic.mesh(synthetic.EIGHT)
    params = samples.noise(made)
    features = jax.random.normal(jax.random.key(3), (2, 4, 16, samples.WIDTH))
    placed = sharding.state_shardings({"connector": params}, mesh)["connector"]
    slots = jax.sharding.NamedSharding(mesh, sharding.SLOTS)

    def apply(params, features):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return samples.module(made).apply({"params": params}, features)

    out = jax.jit(apply, in_shardings=(placed, slots), out_shardings=slots)(
        params, features
    )
    np.testing.assert_allclose(
        out, samples.connect(made, params, features), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "kind",
    ["average_pool", "c_abstractor", "linear", "mlp", "pixel_shuffle", "token_concat"],
)
def test_with_a_norm_at_the_entrance_the_scale_of_features_doesn_t_matter(kind):
    made = samples.model(kind, prenorm=True)
    params = samples.noise(made)
    out = samples.connect(made, params)
    louder = samples.connect(made, params, 7 * samples.FEATURES)
    np.testing.assert_allclose(out, louder, rtol=1e-3, atol=1e-3)
    assert params["norm"]["scale"].ndim == 1
