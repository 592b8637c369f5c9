"""Contrastive losses: against a loop over all couples, on one device and on eight."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from jax.sharding import NamedSharding

from mmjax import config as config_lib
from mmjax import sharding
from mmjax.ops import contrast

GROUPS, SLOTS, WIDTH = 2, 12, 5


def vectors(seed=0, slots=SLOTS):
    rng = np.random.default_rng(seed)
    images, texts = rng.normal(size=(2, GROUPS, slots, WIDTH)).astype(np.float32)
    valid = rng.random((GROUPS, slots)) < 0.8
    return contrast.normed(images), contrast.normed(texts), jnp.asarray(valid)


def by_couples(images, texts, valid, scale, bias, kind):
    """Losses in float64, couple after couple."""
    images, texts = (
        np.asarray(x, np.float64).reshape(-1, WIDTH) for x in (images, texts)
    )
    there = np.flatnonzero(valid)
    logits = scale * images @ texts.T + bias
    losses = np.zeros(len(images))
    for i in there:
        if kind == "softmax":
            for line in (logits[i], logits[:, i]):
                losses[i] += (np.log(np.exp(line[there]).sum()) - line[i]) / 2
            continue
        for j in there:
            for logit in (logits[i, j], logits[j, i]):
                losses[i] += np.log1p(np.exp(-logit if i == j else logit)) / 2
    return losses.reshape(valid.shape)


def on(shape, kind, block=5):
    """The jitted (images, texts, valid, scale, bias) -> losses on a mesh, or alone."""

    def losses(*arguments):
        return contrast.losses(*arguments, kind, block, sharding.SLOTS)

    if shape is None:
        return jax.jit(losses)
    mesh = synthetic.mesh(shape)
    slots = NamedSharding(mesh, sharding.SLOTS)

    def inside(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return losses(*arguments)

    return jax.jit(inside, in_shardings=(slots,) * 3 + (None,) * 2, out_shardings=slots)


@pytest.mark.parametrize("kind", config_lib.CONTRASTS)
@pytest.mark.parametrize("shape", [None, synthetic.ONE, synthetic.EIGHT])
def test_losses_are_those_of_all_couples_on_any_mesh(kind, shape):
    made = vectors()
    losses = on(shape, kind)(*made, jnp.float32(4.0), jnp.float32(-1.5))
    wanted = by_couples(*made, 4.0, -1.5, kind)
    np.testing.assert_allclose(losses, wanted, rtol=2e-5, atol=1e-6)
    assert (np.asarray(losses)[~np.asarray(made[2])] == 0).all()


@pytest.mark.parametrize("kind", config_lib.CONTRASTS)
def test_gradients_are_those_of_the_whole_matrix_on_any_mesh(kind):
    images, texts, valid = vectors(1)
    numbers = jnp.float32(4.0), jnp.float32(-1.5)

    def plain(images, texts, scale, bias):
        """The loss of all pairs, by the matrix of all logits."""
        images, texts = (x.reshape(-1, WIDTH) for x in (images, texts))
        logits = scale * images @ texts.T + bias
        both = valid.reshape(-1, 1) & valid.reshape(1, -1)
        same = jnp.eye(len(logits))
        if kind == "sigmoid":
            terms = jnp.logaddexp(0, (1 - 2 * same) * logits)
            return jnp.where(both, terms, 0).sum()
        logits = jnp.where(both, logits, -jnp.inf)
        total = 0.0
        for i in np.flatnonzero(valid):
            total -= jax.nn.log_softmax(logits[i])[i] / 2
            total -= jax.nn.log_softmax(logits[:, i])[i] / 2
        return total

    wanted = jax.grad(plain, argnums=(0, 1, 2, 3))(images, texts, *numbers)
    for shape in (None, synthetic.EIGHT):
        losses = on(shape, kind)
        made = jax.grad(
            lambda *x, of=losses: of(x[0], x[1], valid, x[2], x[3]).sum(),
            argnums=(0, 1, 2, 3),
        )(images, texts, *numbers)
        for ours, theirs in zip(made, wanted):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", config_lib.CONTRASTS)
def test_no_device_holds_more_logits_than_its_images_times_a_block(kind):
    slots, block = 256, 16
    made = vectors(2, slots)
    images = GROUPS * slots
    losses = on(synthetic.EIGHT, kind, block)
    gradient = jax.jit(
        jax.grad(lambda u, v: losses(u, v, made[2], 4.0, 0.0).sum(), argnums=(0, 1))
    )
    text = gradient.lower(*made[:2]).compile().as_text()
    sizes = [
        int(np.prod([int(n) for n in shape.split(",")]))
        for shape in re.findall(r"f32\[([\d,]+)\]", text)
    ]
    own = images // 8
    # What the texts of a whole ring take is kept for the backward pass.
    assert max(sizes) <= images * (WIDTH + 1) < images * images / 8
    assert own * block in sizes  # and this is what was looked for


def test_vectors_have_length_one_and_zero_has_a_finite_gradient():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0]], jnp.bfloat16)
    np.testing.assert_allclose(contrast.normed(x)[0], [0.6, 0.8], rtol=1e-6)
    slope = jax.grad(lambda x: contrast.normed(x).sum())(x)
    assert np.isfinite(np.asarray(slope, np.float32)).all()


def test_the_table_of_losses_has_the_configs_names():
    assert tuple(sorted(contrast.CONTRASTS)) == tuple(sorted(config_lib.CONTRASTS))
