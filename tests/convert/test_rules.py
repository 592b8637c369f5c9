import numpy as np
import pytest

from mmjax.convert import rules
from mmjax.convert.rules import Part, Rule

FORMS = {
    "as_is": (rules.AS_IS, (4, 6)),
    "linear": (rules.LINEAR, (6, 2, 4)),
    "linear_out": (rules.LINEAR_OUT, (2, 4, 6)),
    "flat": (rules.FLAT, (2, 4)),
    "leading": (rules.leading(2), (3,)),
    "patches": (rules.PATCHES, (3 * 2 * 2, 5)),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms_are_undone_bit_for_bit_and_say_the_shape(name):
    form, shape = FORMS[name]
    ours = np.random.default_rng(0).standard_normal(shape)
    theirs = form.put(ours)
    assert theirs.shape == form.shape(shape)
    np.testing.assert_array_equal(form.take(theirs, shape), ours)


@pytest.mark.parametrize("name", ["as_is", "linear", "linear_out", "flat", "leading"])
def test_taking_a_tensor_copies_nothing(name):
    form, shape = FORMS[name]
    theirs = np.ones(form.shape(shape))
    assert np.shares_memory(form.take(theirs, shape), theirs)


def test_a_linear_layer_of_ours_multiplies_from_the_other_side():
    theirs = np.random.default_rng(0).standard_normal((8, 6))
    x = np.random.default_rng(1).standard_normal(6)
    ours = rules.LINEAR.take(theirs, (6, 2, 4))
    product = np.einsum("d,dnh->nh", x, ours)
    np.testing.assert_allclose(product.reshape(-1), theirs @ x)


def test_patches_are_a_convolution():
    rng, size, width = np.random.default_rng(0), 2, 5
    theirs = rng.standard_normal((width, 3, size, size))
    patch = rng.standard_normal((size, size, 3))  # row, column, channel
    kernel = rules.PATCHES.take(theirs, (size * size * 3, width))
    expected = np.zeros(width)
    for row, column, channel in np.ndindex(patch.shape):
        expected += patch[row, column, channel] * theirs[:, channel, row, column]
    np.testing.assert_allclose(patch.reshape(-1) @ kernel, expected)


def test_a_part_of_a_tensor_needs_the_whole_of_it():
    third = Rule("q", "in_proj", rules.LINEAR, range(2), Part(4, 12))
    assert rules.their_shape(third, (2, 6, 2, 2)) == (12, 6)
    assert third.names() == ["in_proj", "in_proj"]


def test_the_vocabulary_may_be_longer_than_theirs():
    table = Rule("embedding", "embed", rules.AS_IS, grows=0)
    head = Rule("unembed", "head", rules.LINEAR, grows=1)
    assert rules.their_growing_axis(table, (9, 4)) == 0
    assert rules.their_growing_axis(head, (4, 9)) == 0  # theirs is [V, D]
    assert rules.their_growing_axis(head._replace(grows=None), (4, 9)) is None
