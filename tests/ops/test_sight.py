"""Sight: against a walk through each row, one token at a time."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config
from mmjax.ops import sight

# Row 0: the drawing of `mmjax.ops.sight`, then padding; row 1: a document that starts
# with two images in a row, one without any, and one with an image at its very end.
SEGMENTS = np.array([[[1] * 5 + [2] * 6 + [0] * 2, [1] * 4 + [2] * 3 + [3] * 6]])
IMAGES = np.full((1, 2, 13), -1)
IMAGES[0, 0, [1, 7, 9]] = 4, 2, 0
IMAGES[0, 1, [0, 1, 12]] = 1, 5, 3


def walk(images_T, segments_T, seen):
    """The slots that each token sees."""
    found, own, document = [], [], None
    for image, segment in zip(images_T.tolist(), segments_T.tolist(), strict=True):
        if segment != document:
            own, document = [], segment
        if image >= 0:
            own.append(image)
        found.append(own[-1:] if seen == "last" else list(own))
    return found


@pytest.mark.parametrize("seen", config.SEEN_IMAGES)
@pytest.mark.parametrize("most", [3, 6])
def test_a_token_sees_the_images_before_it_in_its_document(seen, most):
    images, segments = jnp.asarray(IMAGES), jnp.asarray(SEGMENTS)
    found = sight.sight(images, segments, most, seen)
    assert found.slots_ZRU.shape == (1, 2, most)
    for row in range(2):
        expected = walk(IMAGES[0, row], SEGMENTS[0, row], seen)
        for t, slots in enumerate(expected):
            first, stop = (
                int(found.first_ZRT[0, row, t]),
                int(found.stop_ZRT[0, row, t]),
            )
            assert found.slots_ZRU[0, row, first:stop].tolist() == slots


def test_what_a_row_has_no_room_for_is_seen_by_nobody():
    found = sight.sight(jnp.asarray(IMAGES), jnp.asarray(SEGMENTS), 2, "last")
    assert found.slots_ZRU.tolist() == [[[4, 2], [1, 5]]]
    seen = np.asarray(found.first_ZRT < found.stop_ZRT)
    expected = [walk(IMAGES[0, row], SEGMENTS[0, row], "last") for row in range(2)]
    for row, t in itertools.product(range(2), range(13)):
        assert seen[0, row, t] == (expected[row][t] not in ([], [0], [3]))


def test_a_row_has_the_tokens_of_its_images_in_order():
    pool = jnp.arange(2 * 4 * 3).reshape(2, 4, 3, 1) * 1.0
    slots = jnp.array([[[2, 0]], [[3, 1]]])
    found = sight.of_rows(pool, slots)[..., 0]
    assert found.tolist() == [[[[6, 7, 8], [0, 1, 2]]], [[[21, 22, 23], [15, 16, 17]]]]


def test_choices_of_the_config_are_what_exists():
    assert sorted(sight.SEEN) == sorted(config.SEEN_IMAGES)
