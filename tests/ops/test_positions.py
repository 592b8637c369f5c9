import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config
from mmjax.ops import positions


def test_the_same_grid_gives_the_same_values():
    table = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)))
    assert positions.resize(table, (4, 4)) is table


def test_resizings_of_the_config_are_what_exists():
    assert sorted(positions.RESIZES) == sorted(config.RESIZES)


@pytest.mark.parametrize("method", positions.RESIZES)
@pytest.mark.parametrize("grid", [(4, 4), (7, 5), (13, 16)])
def test_a_constant_stays_what_it_is_in_every_resizing(method, grid):
    table = jnp.tile(jnp.array([[1.0, -2.0]]), (49, 1))
    resized = positions.resize(table, grid, method)
    assert resized.shape == (grid[0] * grid[1], 2)
    np.testing.assert_allclose(resized, jnp.tile(table[:1], (len(resized), 1)), 1e-5)


@pytest.mark.extra
@pytest.mark.parametrize(
    ("method", "antialias"), [("torch_bicubic", False), ("cubic", True)]
)
@pytest.mark.parametrize("grid", [(27, 27), (16, 24), (48, 40)])
def test_bicubic_is_that_of_pytorch(method, antialias, grid):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(37 * 37, 3)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(table.reshape(1, 37, 37, 3)).permute(0, 3, 1, 2),
        size=grid, mode="bicubic", align_corners=False, antialias=antialias,
    )  # fmt: skip
    expected = theirs.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    found = positions.resize(jnp.asarray(table), grid, method)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_plane_stays_a_plane():
    rows, columns = np.mgrid[:4, :4]
    plane = jnp.asarray(np.stack([rows, columns], -1).reshape(16, 2), jnp.float32)
    larger = np.asarray(positions.resize(plane, (8, 12))).reshape(8, 12, 2)
    # New pixels' centres, in old coordinates; the border has no neighbour to weigh.
    np.testing.assert_allclose(
        larger[1:-1, 3, 0], ((np.arange(8) + 0.5) / 2 - 0.5)[1:-1], atol=1e-5
    )
    np.testing.assert_allclose(
        larger[3, 2:-2, 1], ((np.arange(12) + 0.5) / 3 - 0.5)[2:-2], atol=1e-5
    )


def test_shrinking_averages_what_it_drops():
    board = jnp.asarray(np.indices((8, 8)).sum(0) % 2, jnp.float32).reshape(64, 1)
    small = positions.resize(board, (4, 4))
    np.testing.assert_allclose(small, 0.5, atol=0.1)


def test_a_table_that_is_no_square_is_refused():
    with pytest.raises(ValueError, match="15 patches"):
        positions.resize(jnp.zeros((15, 2)), (4, 4))


def test_waves_of_the_grid_tell_rows_and_columns_apart():
    table = positions.sincos((3, 3), 8).reshape(3, 3, 8)
    for row in range(3):
        for column in range(3):
            expected = [
                wave(place * rate)
                for place in (row, column)
                for wave in (np.sin, np.cos)
                for rate in (1.0, 0.01)
            ]
            np.testing.assert_allclose(table[row, column], expected, rtol=1e-6)


def test_columns_come_first_where_asked():
    rows, columns = positions.sincos((2, 3), 8), positions.sincos((2, 3), 8, True)
    np.testing.assert_array_equal(columns[:, :4], rows[:, 4:])
    np.testing.assert_array_equal(columns[:, 4:], rows[:, :4])
    np.testing.assert_array_equal(rows[3], positions.sincos((3, 3), 8)[3])
