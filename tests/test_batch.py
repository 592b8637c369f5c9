"""Batches are made larger by padding, and shorter by what lies beyond."""

import model_samples
import numpy as np

from mmjax import batch as batch_lib
from mmjax.batch import NO_IMAGE, OF_SLOTS

ROWS = [[[3, 4, "slot 0", 5]], [["slot 1", 6]], [[7]]]


def test_padding_adds_empty_groups_rows_and_slots_only():
    made = model_samples.batch(ROWS, 6, 2)
    padded = batch_lib.padded(made, 2, 4, 3)
    assert padded.tokens_ZRT.shape == (2, 4, 6)
    assert padded.pixels_ZChwc.shape[:2] == padded.real_ZC.shape == (2, 3)
    for name, array in padded._asdict().items():
        kept = getattr(made, name)
        assert array.dtype == kept.dtype
        np.testing.assert_array_equal(array[:1, : kept.shape[1]], kept)
    assert (padded.images_ZRT[1] == NO_IMAGE).all()
    assert not padded.real_ZC[1].any()
    assert not padded.segments_ZRT[0, 3].any()


def test_cutting_changes_the_length_of_rows_alone():
    made = model_samples.batch(ROWS, 6, 2)
    for tokens in (5, 9):
        cut = batch_lib.cut(made, tokens)
        assert cut.tokens_ZRT.shape == (1, 3, tokens)
        same = min(tokens, 6)
        for name, array in cut._asdict().items():
            kept = getattr(made, name)
            assert array.dtype == kept.dtype
            if name in OF_SLOTS:
                np.testing.assert_array_equal(array, kept)
            else:
                np.testing.assert_array_equal(array[:, :, :same], kept[:, :, :same])
        assert (cut.images_ZRT[:, :, 6:] == NO_IMAGE).all()
        assert not cut.segments_ZRT[:, :, 6:].any()
