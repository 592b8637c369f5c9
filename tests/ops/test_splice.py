import jax
import jax.numpy as jnp
import numpy as np

from mmjax.batch import NEWLINE
from mmjax.ops import splice

# 2 groups of 2 rows of 4 tokens; 3 slots of 2 image tokens, numbered 0..5 in a group.
IMAGES = np.array(
    [
        [[-1, 0, 1, -1], [4, 5, -1, -1]],
        [[-1, -1, -1, -1], [2, 3, 0, 1]],
    ]
)


def inputs():
    text = -np.arange(1.0, 33).reshape(2, 2, 4, 2)
    pool = np.arange(1.0, 25).reshape(2, 3, 2, 2)
    return jnp.asarray(text), jnp.asarray(pool)


def test_image_tokens_of_the_own_group_stand_where_they_are_named():
    text, pool = inputs()
    out = splice.splice(text, pool, jnp.asarray(IMAGES))
    for z, r, t in np.ndindex(IMAGES.shape):
        image = IMAGES[z, r, t]
        expected = text[z, r, t] if image < 0 else pool[z, image // 2, image % 2]
        np.testing.assert_array_equal(out[z, r, t], expected)


def test_gradients_reach_the_named_tokens_and_no_others():
    text, pool = inputs()
    gradients = jax.grad(
        lambda *x: splice.splice(*x, jnp.asarray(IMAGES)).sum(), argnums=(0, 1)
    )
    of_text, of_pool = gradients(text, pool)
    np.testing.assert_array_equal(of_text[..., 0], IMAGES < 0)
    named = [[[1, 1], [0, 0], [1, 1]], [[1, 1], [1, 1], [0, 0]]]
    np.testing.assert_array_equal(of_pool[..., 0], named)


def test_a_newline_is_its_vector_and_gets_the_gradient_of_all_its_places():
    text, pool = inputs()
    images = IMAGES.copy()
    images[0, 0, 3] = images[1, 1, 2] = NEWLINE
    newline = jnp.array([100.0, -100.0])
    out = splice.splice(text, pool, jnp.asarray(images), newline)
    for z, r, t in np.ndindex(images.shape):
        image = images[z, r, t]
        expected = text[z, r, t] if image == -1 else pool[z, image // 2, image % 2]
        expected = newline if image == NEWLINE else expected
        np.testing.assert_array_equal(out[z, r, t], expected)

    def total(text, newline):
        return splice.splice(text, pool, jnp.asarray(images), newline).sum()

    of_text, of_newline = jax.grad(total, argnums=(0, 1))(text, newline)
    np.testing.assert_array_equal(of_text[..., 0], images == -1)
    np.testing.assert_array_equal(of_newline, [2, 2])
