"""AIM's task: prefixes, what counts, and errors against a loop over patches."""

import jax
import jax.numpy as jnp
import numpy as np

from mmjax.ops import next_patch


def test_prefixes_are_alike_likely_from_one_to_all_but_one_patch():
    drawn = np.asarray(next_patch.prefixes(jax.random.key(0), (40, 50), 5))
    shares = np.bincount(drawn.ravel(), minlength=6) / drawn.size
    assert shares[[0, 5]].tolist() == [0, 0]
    np.testing.assert_allclose(shares[1:5], 0.25, atol=0.04)


def test_a_slot_draws_by_its_number_and_the_key_alone():
    key = jax.random.key(3)
    one = next_patch.prefixes(key, (2, 8), 50)
    same = next_patch.prefixes(key, (4, 4), 50)
    other = next_patch.prefixes(jax.random.fold_in(key, 1), (2, 8), 50)
    assert one.ravel().tolist() == same.ravel().tolist()
    assert one.ravel().tolist() != other.ravel().tolist()


def test_patches_after_the_prefix_of_real_images_count():
    prefix, real = jnp.array([[1, 3, 4, 2]]), jnp.array([[True, True, True, False]])
    counts = next_patch.predicted(prefix, real, 5)  # of the patches 1, 2, 3, 4
    assert counts.astype(int).tolist() == [
        [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    ]


def test_errors_are_of_pixels_normalized_patch_by_patch():
    rng = np.random.default_rng(0)
    patches = rng.normal(3, 5, (2, 3, 4, 12)).astype(np.float32)
    patches[0, 0, 2] = 7.0  # of one colour: nothing is left of it
    predicted = rng.normal(size=(2, 3, 3, 12)).astype(np.float32)
    made = next_patch.squared_errors(jnp.asarray(predicted), jnp.asarray(patches))
    for z in range(2):
        for c in range(3):
            for p in range(1, 4):
                pixels = patches[z, c, p].astype(np.float64)
                target = (pixels - pixels.mean()) / np.sqrt(pixels.var() + 1e-6)
                error = np.mean((predicted[z, c, p - 1] - target) ** 2)
                np.testing.assert_allclose(made[z, c, p - 1], error, rtol=1e-4)
