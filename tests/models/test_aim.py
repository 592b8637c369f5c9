"""AIM's model: what each prediction sees, by gradients that are exactly zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pair_samples
import pytest

from mmjax.models import vlm

PATCHES = 4  # two rows of two, of 4 x 4 pixels


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("special", [False, True])
def test_a_prediction_sees_earlier_patches_and_the_prefix_only(special):
    model = pair_samples.model("aim", class_token=special, registers=2 * special)
    built = vlm.build(model)
    params = jax.jit(built.init)(jax.random.key(0))
    batch = pair_samples.batch([[[1, "slot 0", 5]]], 8, 3)
    prefix_ZC = jnp.array([[1, 2, 3]])

    def predicted(pixels):
        out = built.apply(params, batch._replace(pixels_ZChwc=pixels), prefix_ZC)
        return out.pixels_ZCPp.sum(-1)[0]

    pixels = batch.pixels_ZChwc.astype(np.float32)
    slopes = jax.jit(jax.jacrev(predicted))(pixels)  # [C, P - 1, Z, C, h, w, c]
    for slot in range(3):
        of_slot = slopes[slot, :, 0]
        assert (np.delete(of_slot, slot, axis=1) == 0).all()  # other images
        own = np.asarray(of_slot[:, slot]).reshape(PATCHES - 1, 2, 4, 2, 4, 3)
        sees = (own != 0).any(axis=(2, 4, 5)).reshape(PATCHES - 1, PATCHES)
        for place in range(PATCHES - 1):  # predicts patch place + 1
            last = max(place, int(prefix_ZC[0, slot]) - 1)
            assert sees[place].tolist() == [p <= last for p in range(PATCHES)]


def test_only_encoder_and_head_are_parameters():
    model = pair_samples.model("aim")
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    assert set(shapes) == {"vit", "aim"}
    plain = jax.eval_shape(
        vlm.build(pair_samples.model("next_token")).init, jax.random.key(0)
    )
    assert jax.tree.map(jnp.shape, shapes["vit"]) == jax.tree.map(
        jnp.shape, plain["vit"]
    )
