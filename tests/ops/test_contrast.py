"""Contrastive losses: against a loop over all couples, on one device and on eight."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from jax.sharding import NamedSharding
from short_form import slow_unless

from mmjax import config as config_lib
from mmjax import sharding
from mmjax.ops import contrast

GROUPS, SLOTS, WIDTH = 8, 8, 5
SCALE, BIAS = 4.0, -1.5
MESHES = [
    config_lib.Mesh(1, 1, 1),
    config_lib.Mesh(8, 1, 1),
    config_lib.Mesh(1, 8, 1),
    config_lib.Mesh(1, 2, 4),
    config_lib.Mesh(2, 2, 2),
    config_lib.Mesh(2, 2, 1, expert=2),
]
SHOWN = (None, MESHES[3], MESHES[5])  # by default


def vectors(seed=0, groups=GROUPS, slots=SLOTS, width=WIDTH):
    """Images, texts and which of them are pairs: four in five."""
    rng = np.random.default_rng(seed)
    images, texts = jnp.asarray(
        rng.normal(size=(2, groups, slots, width)).astype(np.float32)
    )
    valid = rng.random((groups, slots)) < 0.8
    return contrast.normed(images), contrast.normed(texts), jnp.asarray(valid)


def by_couples(images, texts, valid, kind):
    """Losses in float64, couple after couple."""
    images, texts = (
        np.asarray(x, np.float64).reshape(-1, WIDTH) for x in (images, texts)
    )
    there = np.flatnonzero(valid)
    logits = SCALE * images @ texts.T + BIAS
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


def by_matrix(images, texts, valid, scale, bias, kind):
    """The sum of all losses, by the matrix of all logits."""
    images, texts = (x.reshape(-1, x.shape[-1]) for x in (images, texts))
    logits = scale * jnp.matmul(images, texts.T) + bias
    both = valid.reshape(-1, 1) & valid.reshape(1, -1)
    own = jnp.where(valid.reshape(-1), jnp.diag(logits), 0).sum()
    if kind == "sigmoid":
        return jnp.where(both, jnp.logaddexp(0, logits), 0).sum() - own
    logits = jnp.where(both, logits, -jnp.inf)
    total = -own
    for axis in (0, 1):
        sums = jax.nn.logsumexp(logits, axis=axis)
        total += jnp.where(valid.reshape(-1), sums, 0).sum() / 2
    return total


def on(mesh, kind, block=5):
    """(images, texts, valid, scale, bias) -> losses, on a mesh; None: without one."""

    def losses(*arguments):
        return contrast.losses(*arguments, kind, block, sharding.SLOTS)

    if mesh is None:
        return losses
    devices = mesh.data * mesh.fsdp * mesh.tensor * mesh.expert
    made = sharding.make_mesh(mesh, jax.devices()[:devices])

    def inside(*arguments):
        slots = NamedSharding(made, sharding.SLOTS)
        arrays = jax.lax.with_sharding_constraint(arguments[:3], slots)
        with jax.sharding.use_abstract_mesh(made.abstract_mesh):
            found = losses(*arrays, *arguments[3:])
        return jax.lax.with_sharding_constraint(found, slots)

    return inside


def with_slopes(losses):
    """The jitted (images, texts, valid, scale, bias) -> losses, and slopes of sums."""

    def total(images, texts, scale, bias, valid):
        found = losses(images, texts, valid, scale, bias)
        return found.sum(), found

    slopes = jax.value_and_grad(total, argnums=(0, 1, 2, 3), has_aux=True)

    @jax.jit
    def made(images, texts, valid, scale=SCALE, bias=BIAS):
        (_, found), slope = slopes(images, texts, scale, bias, valid)
        return found, slope

    return made


@pytest.mark.parametrize("kind", config_lib.CONTRASTS)
@pytest.mark.parametrize("mesh", slow_unless([None, *MESHES], SHOWN), ids=repr)
def test_losses_and_gradients_are_those_of_all_couples_on_any_mesh(kind, mesh):
    made = vectors()
    numbers = jnp.float32(SCALE), jnp.float32(BIAS)
    with synthetic.quick_compilation():
        losses, slopes = with_slopes(on(mesh, kind))(*made, *numbers)
    wanted = by_couples(*made, kind)
    np.testing.assert_allclose(losses, wanted, rtol=2e-5, atol=1e-6)
    assert (np.asarray(losses)[~np.asarray(made[2])] == 0).all()

    def plain(images, texts, scale, bias):
        return by_matrix(images, texts, made[2], scale, bias, kind)

    expected = jax.grad(plain, argnums=(0, 1, 2, 3))(*made[:2], *numbers)
    np.testing.assert_allclose(plain(*made[:2], *numbers), wanted.sum(), rtol=1e-5)
    for ours, theirs in zip(slopes, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def sizes(compiled) -> list[int]:
    """How many numbers each array of a compiled program holds on one device."""
    shapes = re.findall(r"\b[a-z]+\d*\[([\d,]+)\]", compiled.as_text())
    return [int(np.prod([int(n) for n in shape.split(",")])) for shape in shapes]


@pytest.mark.parametrize("kind", config_lib.CONTRASTS)
@pytest.mark.parametrize("block", [16, 1024])
def test_no_device_holds_more_than_the_logits_of_its_images_and_a_block(kind, block):
    made = vectors(2, slots=64, width=3)
    pairs = GROUPS * 64
    own = pairs // 8
    logits = own * min(block, own)
    held = sizes(with_slopes(on(MESHES[4], kind, block)).lower(*made).compile())
    assert max(held) == logits
    plain = jax.grad(lambda u, v: by_matrix(u, v, made[2], SCALE, BIAS, kind))
    assert pairs**2 in sizes(jax.jit(plain).lower(*made[:2]).compile())


def test_memory_grows_with_the_batch_and_not_with_its_square():
    def bytes_of(slots: int) -> int:
        made = vectors(2, slots=slots, width=3)
        compiled = with_slopes(on(MESHES[4], "softmax", 16)).lower(*made).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    small, large = bytes_of(128), bytes_of(1024)
    assert large < 8.5 * small


def test_vectors_have_length_one_and_zero_has_a_finite_gradient():
    x = jnp.array([[3.0, 4.0], [0.0, 0.0]], jnp.bfloat16)
    np.testing.assert_allclose(contrast.normed(x)[0], [0.6, 0.8], rtol=1e-6)
    slope = jax.grad(lambda x: contrast.normed(x).sum())(x)
    assert np.isfinite(np.asarray(slope, np.float32)).all()


def test_the_table_of_losses_has_the_configs_names():
    assert tuple(sorted(contrast.CONTRASTS)) == tuple(sorted(config_lib.CONTRASTS))
