"""Backends of attention: chosen by the mesh's devices, and equal to each other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from mmjax import config, sharding
from mmjax.models import backends, layers
from mmjax.ops import splash


def planned(platform: str, context: int = 1) -> AbstractMesh:
    """A mesh of two devices (or more) that needn't exist."""
    device = AbstractDevice(device_kind="any", num_cores=None, platform=platform)
    types = (AxisType.Auto,) * len(sharding.AXES)
    sizes = (2, 1, 1, 1, context)
    return AbstractMesh(sizes, sharding.AXES, types, abstract_device=device)


def test_auto_takes_the_kernel_where_the_mesh_is_of_tpus():
    model = config.Model()
    fields = ("model.vit.attention", "model.attention")
    assert backends.chosen(model, planned("tpu")) == dict.fromkeys(fields, "splash")
    on_cpu = backends.chosen(model, synthetic.mesh(synthetic.ONE))
    assert on_cpu == dict(zip(fields, ("reference", "blocked")))
    model.attention = "reference"
    assert backends.told(model, planned("tpu")) == (
        "model.vit.attention=splash, model.attention=reference"
    )


def test_patches_with_a_prefix_and_images_of_a_row_take_no_kernel():
    model = config.Model()
    with jax.sharding.use_abstract_mesh(planned("tpu")):
        assert backends.decoder(model) == "splash"
        assert backends.cross(model) == "blocked"
        assert backends.encoder(model.vit, prefix=True) == "reference"


def test_a_kernel_that_the_devices_lack_is_refused_in_one_line():
    model = config.Model(attention="splash")
    with pytest.raises(ValueError, match=r"model\.attention='splash'.*'cpu'") as error:
        backends.require(model, 16, synthetic.mesh(synthetic.ONE))
    assert "\n" not in str(error.value)
    backends.require(model, 16, planned("tpu"))
    backends.require(config.Model(), 16, synthetic.mesh(synthetic.ONE))


def test_rows_that_give_a_device_no_whole_pieces_are_refused_for_the_kernel():
    tpu, model = planned("tpu", context=2), config.Model()
    backends.require(model, 1536, tpu)
    rule = r"data\.row_tokens=1280: must be a multiple of 512 for model\.attention"
    with pytest.raises(ValueError, match=rule):
        backends.require(model, 1280, tpu)
    model.attention = "blocked"
    backends.require(model, 1280, tpu)


CASES = {
    "decoder": {"kv_heads": 2, "causal": True},
    "encoder": {
        "kv_heads": 4,
        "causal": False,
        "bias": True,
        "rows_over": layers.SLOTS,
        "heads_over": None,
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_kernel_alone_on_each_device_is_attention_of_all(case, monkeypatch):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 4, 128, 16)), jnp.float32)
    segments = jnp.asarray(np.sort(rng.integers(0, 3, (2, 4, 128))), jnp.int32)
    sizes = {"width": 16, "source_width": 16, "heads": 4, "head_size": 8}
    more = {"dtype": "float32", "bias": False, "block": 0, "gain": 1.0}

    def of(backend, mesh):
        module = layers.Attention(**{**sizes, **more, **case}, backend=backend)
        params = module.init(jax.random.key(1), x, x, segments)
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

        def total(params, x):
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                out = module.apply(params, x, x, segments)
            return jnp.sum(jnp.sin(out)), out

        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(
            *jax.device_put((params, x), everywhere)
        )

    expected = of("reference", synthetic.mesh(synthetic.ONE))
    interpreted = functools.partial(splash.attend, interpret=True)
    monkeypatch.setattr(splash, "attend", interpreted)
    found = of("splash", synthetic.mesh(synthetic.EIGHT))

    # Of key biases the gradient is 0 but for rounding, so by the largest of all.
    largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * largest),
        found,
        expected,
    )
