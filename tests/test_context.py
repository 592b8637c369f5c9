"""Training steps whose rows lie over devices: those of one device.

Metrics agree within 2e-5 of their size (of routers 2e-4), moments of the optimizer,
which after the first step are the gradients, within 1e-3, as on other meshes.
"""

import functools

import jax
import numpy as np
import pytest
import synthetic

from mmjax import config as config_lib
from mmjax import sharding, step, validation
from mmjax.config import Config
from mmjax.models import vlm

pytestmark = pytest.mark.usefixtures("quick_compilation")


def rows() -> Config:
    """The sample config, for pieces of 1 to 4 tokens and blocks of 3 queries."""
    made = synthetic.config()
    made.model.attention, made.model.attention_block = "blocked", 3
    made.model.loss_chunk, made.data.pool_multiple = 8, 8
    return made


def plain() -> Config:
    made = rows()
    made.model.attention = "reference"
    return made


def experts() -> Config:
    made = rows()
    made.model.decoder.moe = config_lib.Moe(
        experts=4, capacity_factor=0.0, balance_loss=0.5, z_loss=0.1
    )
    return made


def gemma() -> Config:
    """Windows in one layer of two, caps, norms behind, and other rotations."""
    made = rows()
    decoder = made.model.decoder
    decoder.window, decoder.global_every, decoder.local_rope_theta = 5, 2, 100.0
    decoder.attention_softcap, decoder.logit_softcap = 5.0, 8.0
    decoder.post_norms = decoder.qk_norm = True
    return made


def crossed() -> Config:
    made = rows()
    made.model.decoder.cross_attention = config_lib.CrossAttention(
        every=2, row_images=4
    )
    return made


def rematted() -> Config:
    made = rows()
    made.model.decoder.remat, made.optim.accumulate = "projections", 2
    return made


def stepped(config: Config, sizes: tuple[int, ...]):
    """Metrics and the optimizer's state after the first step."""
    config.mesh = config_lib.Mesh(*sizes)
    validation.validate(config)
    mesh, model = synthetic.mesh(sizes), vlm.build(config.model)
    state = step.init_state(model, config, mesh, jax.random.key(0))
    batch = synthetic.batch(config, seed=0)
    batch = jax.device_put(batch, sharding.batch_shardings(mesh))
    state, metrics = step.make_train_step(model, config, mesh)(state, batch)
    return jax.device_get((metrics, state.opt_state))


@functools.cache
def on_one_device(make):
    return stepped(make(), (1, 1, 1, 1, 1))


slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        slow(rows, (1, 2, 1, 1, 4)),
        slow(rows, (1, 1, 1, 1, 8)),
        slow(rows, (2, 1, 2, 1, 2)),
        slow(plain, (4, 1, 1, 1, 2)),
        slow(experts, (1, 2, 1, 2, 2)),
        slow(experts, (1, 1, 2, 1, 4)),
        slow(gemma, (1, 2, 2, 1, 2)),
        slow(crossed, (2, 1, 1, 1, 4)),
        slow(rematted, (2, 1, 1, 1, 4)),
    ],
)
def test_a_step_of_rows_over_devices_is_that_of_one_device(make, sizes):
    metrics, moments = stepped(make(), sizes)
    expected_metrics, expected_moments = on_one_device(make)
    tolerance = 2e-4 if make is experts else 2e-5
    assert_close(metrics, expected_metrics, rtol=tolerance, atol=1e-5)
    assert_close(moments, expected_moments, rtol=1e-3, atol=1e-5)


def assert_close(found, expected, **tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, expected
    )


def test_the_rows_hold_documents_that_cross_the_devices_borders():
    segments = synthetic.batch(rows(), seed=0).segments_ZRT
    border = segments.shape[-1] // 2
    crosses = segments[..., border - 1] == segments[..., border]
    several = (segments[..., :1] != segments[..., border - 1 : border])[..., 0]
    assert (crosses & several & (segments[..., border] > 0)).any()
