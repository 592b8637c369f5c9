import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config, sharding
from mmjax.models import layers


def test_linear_contracts_its_inputs_on_one_device_and_on_a_mesh():
    x = jax.random.normal(jax.random.key(0), (2, 2, 5, 3, 4))
    module = layers.Linear((3, 4), (6, 2), "float32", bias=True)
    params = module.init(jax.random.key(1), x)
    kernel = params["params"]["kernel"]
    expected = jnp.einsum("ZRTNH,NHKQ->ZRTKQ", x, kernel)
    np.testing.assert_allclose(module.apply(params, x), expected, atol=1e-5)
    mesh = sharding.make_mesh(config.Mesh(2, 2, 2), jax.devices())
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        assert not layers.on_one_device()
        np.testing.assert_allclose(module.apply(params, x), expected, atol=1e-5)


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_fan_in_keeps_the_variance_it_is_told(gain):
    kernel = layers.fan_in(100, gain)(jax.random.key(0), (100, 2000), jnp.float32)
    assert abs(np.std(kernel) / (gain / 10) - 1) < 0.01
    assert np.abs(kernel).max() <= 2 * gain / 10 / 0.8796 + 1e-6


def test_pin_needs_no_mesh_and_leaves_out_axes_that_do_not_divide():
    x = jnp.ones((4, 3))
    assert layers.pin(x, "data", "fsdp") is x
    mesh = sharding.make_mesh(config.Mesh(2, 2, 2), jax.devices())

    def pinned(x):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return layers.pin(x, ("data", "tensor"), "fsdp")

    placed = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    out = jax.jit(pinned, in_shardings=placed)(x)
    assert out.sharding.spec == jax.sharding.PartitionSpec(("data", "tensor"))
