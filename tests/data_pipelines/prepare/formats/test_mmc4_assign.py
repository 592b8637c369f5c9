"""The assignment is the best of all one-to-one assignments, cut at the threshold."""

import itertools

import numpy as np
import pytest

from data_pipelines.prepare.formats import mmc4_assign


def _best(matrix: np.ndarray) -> float:
    """The greatest total of one-to-one pairs, by trying all."""
    few, many = sorted(matrix.shape)
    wide = matrix if matrix.shape[0] == few else matrix.T
    choices = itertools.permutations(range(many), few)
    return max(sum(wide[i, c] for i, c in enumerate(choice)) for choice in choices)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (4, 4), (1, 6), (6, 1)])
def test_the_total_is_the_greatest_and_no_sentence_has_two(shape):
    rng = np.random.default_rng(sum(shape))
    for _ in range(20):
        matrix = rng.uniform(0, 0.4, shape)
        pairs = mmc4_assign.assign(matrix, threshold=0.0, most_images=99)
        images, sentences = zip(*pairs)
        assert len(set(images)) == len(set(sentences)) == min(shape)
        assert list(images) == sorted(images)
        total = sum(matrix[pair] for pair in pairs)
        np.testing.assert_allclose(total, _best(matrix), rtol=1e-12)


def test_rows_are_images_and_weak_pairs_are_dropped():
    matrix = [[0.24, 0.32, 0.28], [0.22, 0.33, 0.239]]
    # 0.28 + 0.33 is more than 0.32 + 0.239, though image 0 likes sentence 1 best.
    assert mmc4_assign.assign(matrix) == [(0, 2), (1, 1)]
    assert mmc4_assign.assign(matrix, threshold=0.3) == [(1, 1)]
    assert mmc4_assign.assign([[0.24]]) == [(0, 0)]
    assert mmc4_assign.assign([[0.2399]]) == []


def test_the_first_images_are_kept():
    matrix = np.eye(9)
    pairs = mmc4_assign.assign(matrix, most_images=6)
    assert pairs == [(i, i) for i in range(6)]


@pytest.mark.parametrize("matrix", [[0.3], [[float("nan")]], [[[0.3]]]])
def test_what_is_no_matrix_is_an_error(matrix):
    with pytest.raises(ValueError, match="no finite matrix"):
        mmc4_assign.assign(matrix)


def test_about_the_share_is_dropped_and_always_the_same():
    pages = [[f"page {number}", "same"] for number in range(2000)]
    few, half = (
        {page[0] for page in pages if mmc4_assign.is_dropped(page, share)}
        for share in (0.1, 0.5)
    )
    assert few < half
    assert 140 < len(few) < 260
    assert 900 < len(half) < 1100
    assert not any(mmc4_assign.is_dropped(page, 0.0) for page in pages)
