"""Backends of attention: chosen by the mesh's devices, and equal to each other."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from jax.sharding import AbstractDevice, AbstractMesh, AxisType
from short_form import slow_unless

from mmjax import config, sharding
from mmjax.models import backends, layers
from mmjax.ops import splash, triton


def planned(platform: str, kind: str = "any", context: int = 1) -> AbstractMesh:
    """A mesh of two devices (or more) that needn't exist."""
    device = AbstractDevice(device_kind=kind, num_cores=None, platform=platform)
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


@pytest.mark.parametrize(("platform", "rows"), [("tpu", "splash"), ("gpu", "triton")])
def test_patches_with_a_prefix_and_images_of_a_row_take_no_kernel(platform, rows):
    model = config.Model()
    with jax.sharding.use_abstract_mesh(planned(platform)):
        assert backends.decoder(model) == rows
        assert backends.cross(model) == "blocked"
        assert backends.encoder(model.vit, "bfloat16", prefix=True) == "reference"


def test_auto_takes_kernels_of_gpus_for_what_they_know_alone():
    model = config.Model()
    kernels = "model.vit.attention=cudnn, model.attention=triton"
    assert backends.told(model, planned("gpu")) == kernels
    others = "model.vit.attention=reference, model.attention=blocked"
    model.dtype = "float32"
    assert backends.told(model, planned("gpu")) == others
    for name, value in ("window", 512), ("attention_softcap", 50.0):
        model = config.Model(vit=config.ViT(width=1280, heads=10))
        setattr(model.decoder, name, value)
        rows = "model.vit.attention=cudnn, model.attention=blocked"
        assert backends.told(model, planned("gpu")) == rows
        assert "model.attention=splash" in backends.told(model, planned("tpu"))
    model = config.Model(vit=config.ViT(width=1280, heads=8))  # heads of 160
    assert "model.vit.attention=reference" in backends.told(model, planned("gpu"))


@pytest.mark.parametrize(
    ("field", "kernel", "theirs", "found"),
    [
        ("attention", "splash", "tpu", "cpu"),
        ("attention", "splash", "tpu", "gpu"),
        ("attention", "triton", "gpu", "tpu"),
        ("vit.attention", "cudnn", "gpu", "tpu"),
        ("vit.attention", "triton", "gpu", "cpu"),
    ],
)
def test_a_kernel_that_the_devices_lack_is_refused_in_one_line(
    field, kernel, theirs, found
):
    model = config.Model()
    part = model.vit if field.startswith("vit") else model
    part.attention = kernel
    line = rf"^model\.{field}='{kernel}': is a kernel of {theirs.upper()}s.*'{found}'.*"
    with pytest.raises(ValueError, match=line) as error:
        backends.require(model, 4096, planned(found))
    assert "\n" not in str(error.value)
    backends.require(model, 4096, planned(theirs))
    backends.require(config.Model(), 4096, planned(found))


@pytest.mark.parametrize(
    ("kind", "faster", "slower"),
    [
        ("int8", ("TPU v5 lite", "TPU v5", "TPU v6 lite"), ("TPU v4", "TPU7x", "cpu")),
        ("fp8", ("TPU7x", "NVIDIA H100 80GB HBM3", "NVIDIA H200"), ("TPU v5", "A100")),
    ],
)
def test_devices_that_gain_nothing_by_quantization_are_named(kind, faster, slower):
    model = config.Model()
    assert backends.quantized_told(model, planned("tpu")) == []
    model.decoder.quantization = kind
    line = f"quantized: model.decoder.quantization={kind}"
    for name in faster:
        assert backends.quantized_told(model, planned("tpu", name)) == [line]
    for name in slower:
        (told,) = backends.quantized_told(model, planned("tpu", name))
        assert told == f"{line}; {name} is not known to be faster at {kind}"
    backends.require(model, 4096, planned("tpu", "TPU v4"))  # it runs all the same


def test_quantization_without_its_library_is_refused_before_anything_is_traced(
    monkeypatch,
):
    model, mesh = config.Model(), synthetic.mesh(synthetic.ONE)
    monkeypatch.setitem(sys.modules, "qwix", None)
    backends.require(model, 4096, mesh)
    model.vit.quantization = "int8"
    with pytest.raises(ValueError, match=r"model\.vit\.quantization.*pip install"):
        backends.require(model, 4096, mesh)


def test_rows_that_give_a_device_no_whole_pieces_are_refused_for_the_kernel():
    tpu, model = planned("tpu", context=2), config.Model()
    backends.require(model, 1536, tpu)
    rule = r"data\.row_tokens=1280: must be a multiple of 512 for model\.attention"
    with pytest.raises(ValueError, match=rule):
        backends.require(model, 1280, tpu)
    model.attention = "blocked"
    backends.require(model, 1280, tpu)


def test_the_kernel_of_gpus_is_for_rows_that_lie_on_one_device():
    mesh = planned("gpu", context=2)
    assert "model.attention=blocked" in backends.told(config.Model(), mesh)
    backends.require(config.Model(), 4096, mesh)
    with pytest.raises(ValueError, match=r"^model\.attention='triton'.*context=2"):
        backends.require(config.Model(attention="triton"), 4096, mesh)


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


@pytest.mark.parametrize("kernel", [splash, triton], ids=["splash", "triton"])
@pytest.mark.parametrize("name", slow_unless(CASES, ["encoder"]))
def test_the_kernel_alone_on_each_device_is_attention_of_all(name, kernel, monkeypatch):
    case = CASES[name]
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
    interpreted = functools.partial(kernel.attend, interpret=True)
    monkeypatch.setattr(kernel, "attend", interpreted)
    name = kernel.__name__.rpartition(".")[2]
    found = of(name, synthetic.mesh(synthetic.EIGHT))

    # Of key biases the gradient is 0 but for rounding, so by the largest of all.
    largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * largest),
        found,
        expected,
    )
