import connector_samples as samples
import numpy as np


def test_average_pool_takes_the_mean_of_each_square():
    made = samples.model("average_pool", tokens=4)
    params = samples.noise(made)
    out = samples.connect(made, params)
    grid = np.asarray(samples.FEATURES).reshape(2, 3, 4, 4, 8)
    for token in range(4):
        top, left = 2 * (token // 2), 2 * (token % 2)
        mean = grid[:, :, top : top + 2, left : left + 2].mean((2, 3))
        expected = mean @ params["project"]["kernel"] + params["project"]["bias"]
        np.testing.assert_allclose(out[:, :, token], expected, rtol=1e-4, atol=1e-5)


def test_windows_overlap_where_the_tokens_side_does_not_divide_the_patches():
    """4 -> 3: rows 0-1, 1-2, 2-3; the middle token sees the four patches inside."""
    made = samples.model("average_pool", tokens=9)
    params = samples.noise(made)
    before = samples.connect(made, params)
    changed = samples.connect(made, params, samples.FEATURES.at[:, :, 5].add(1))
    different = (before != changed).any((0, 1, 3)).reshape(3, 3)
    np.testing.assert_array_equal(different, np.outer([1, 1, 0], [1, 1, 0]))
