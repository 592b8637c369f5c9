"""Prompts of many sizes are laid out in few shapes."""

import model_samples
import numpy as np

from mmjax.generation import layout

ONE = {"data": 1, "fsdp": 1, "tensor": 1, "expert": 1, "context": 1}
EIGHT = {"data": 2, "fsdp": 2, "tensor": 2, "expert": 1, "context": 1}


def group(words: list[int], slots: int, room: int = 40):
    """Rows of so many words each; all `slots` are real, two more aren't."""
    rows = [[list(range(1, n + 1))] for n in words]
    made = model_samples.batch(rows, room, slots + 2)
    made.real_ZC[:, slots:] = False
    return made


def test_sizes_go_up_in_powers_of_two_to_the_most():
    assert [layout.bucket(n) for n in (1, 2, 3, 5, 8, 9)] == [1, 2, 4, 8, 8, 16]
    assert [layout.bucket(n, 3) for n in (1, 4, 7)] == [3, 6, 12]
    assert layout.bucket(30, 16, 25) == 25


def test_requests_are_dealt_to_groups_in_order_and_evenly():
    assert layout.deal(5, ONE) == [range(5)]
    wide = {**EIGHT, "data": 4}
    for requests in range(1, 9):
        dealt = layout.deal(requests, wide)
        assert [i for held in dealt for i in held] == list(range(requests))
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_prompts_keep_what_they_hold_in_the_smallest_shape_that_fits():
    one = group([3, 17, 5], 3)
    whole, lengths = layout.join([one], ONE, 40, 0)
    assert whole.tokens_ZRT.shape == (1, 4, 32)
    assert whole.pixels_ZChwc.shape[:2] == (1, 4)
    assert lengths.tolist() == [[3, 17, 5, 0]]
    np.testing.assert_array_equal(whole.tokens_ZRT[:, :3], one.tokens_ZRT[:, :, :32])
    np.testing.assert_array_equal(whole.pixels_ZChwc[:, :3], one.pixels_ZChwc[:, :3])
    assert not whole.real_ZC[:, 3:].any()


def test_rows_are_never_laid_out_longer_than_the_model_s():
    whole, _ = layout.join([group([33], 1)], ONE, 40, 0)
    assert whole.tokens_ZRT.shape == (1, 1, 40)


def test_texts_alone_have_no_slots_unless_some_are_needed():
    for least in (0, 1):
        whole, _ = layout.join([group([3], 0)], ONE, 40, least)
        assert whole.pixels_ZChwc.shape[1] == least


def test_a_mesh_divides_what_is_laid_out():
    whole, lengths = layout.join([group([3, 4, 2], 1), None], EIGHT, 40, 0)
    assert whole.tokens_ZRT.shape == (2, 4, 16)
    assert whole.pixels_ZChwc.shape[:2] == (2, 4)
    assert lengths.tolist() == [[3, 4, 2, 0], [0, 0, 0, 0]]
