import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax.ops import cross_entropy


def inputs(dtype=np.float32):
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.normal(size=(2, 3, 8, 4)), dtype)
    unembed = jnp.asarray(rng.normal(size=(4, 11)), jnp.float32)
    return hidden, unembed, jnp.asarray(rng.integers(0, 11, (2, 3, 8)))


def plain(hidden, unembed, targets, softcap=0.0):
    logits = hidden.astype(jnp.float32) @ unembed
    logits = softcap * jnp.tanh(logits / softcap) if softcap else logits
    log_z = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return cross_entropy.TokenLoss(log_z - picked, log_z, logits.argmax(-1) == targets)


@pytest.mark.parametrize(
    ("chunk", "softcap", "parts"),
    [
        (8, 0.0, 1), (512, 0.0, 1), (2, 1.5, 1), (8, 30.0, 1), (4, 1.5, 4),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((1, 0.0, 1), (2, 0.0, 1), (4, 0.0, 2))
        ),
    ],
)  # fmt: skip
def test_chunks_give_the_plain_loss_with_its_gradients_and_z(chunk, softcap, parts):
    hidden, unembed, targets = inputs()
    rng = np.random.default_rng(1)
    weights, z_weights = rng.normal(size=(2, *targets.shape))

    def total(loss_of):
        def weighed(hidden, unembed):
            loss = loss_of(hidden, unembed, targets, softcap=softcap)
            total = jnp.sum(loss.nll_ZRT * weights + loss.log_z_ZRT**2 * z_weights)
            return total, loss

        return jax.grad(weighed, argnums=(0, 1), has_aux=True)(hidden, unembed)

    found = total(functools.partial(cross_entropy.chunked, chunk=chunk, parts=parts))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        found,
        total(plain),
    )
    assert found[1].hit_ZRT.dtype == bool


def test_logits_never_exist_whole():
    hidden, unembed, targets = inputs()

    def total(hidden, unembed):
        return cross_entropy.chunked(hidden, unembed, targets, 2).nll_ZRT.sum()

    text = str(jax.make_jaxpr(jax.grad(total, argnums=(0, 1)))(hidden, unembed))
    assert "2,3,2,11]" in text  # of a chunk
    assert "2,3,8,11]" not in text


@pytest.mark.parametrize("softcap", [0.0, 30.0])
def test_large_logits_stay_finite(softcap):
    hidden, unembed, targets = inputs()

    def total(hidden):
        loss = cross_entropy.chunked(hidden, unembed, targets, 4, softcap)
        return loss.nll_ZRT.sum(), loss.nll_ZRT

    d_hidden, nll = jax.grad(total, has_aux=True)(hidden * 1e4)
    assert np.isfinite(nll).all()
    assert np.isfinite(d_hidden).all()
    assert not softcap or nll.max() <= 60 + np.log(11)


def test_the_table_s_gradient_adds_up_in_float32():
    hidden, unembed, targets = inputs(jnp.bfloat16)

    def total(loss_of):
        return jax.grad(lambda u: loss_of(hidden, u, targets).nll_ZRT.sum())(unembed)

    found = total(lambda *x: cross_entropy.chunked(*x, 1))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, total(plain), atol=0.1)


def test_a_chunk_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="chunk=3: must divide the 8 tokens"):
        cross_entropy.chunked(*inputs(), 3)
