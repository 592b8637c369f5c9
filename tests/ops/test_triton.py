"""GPUs' flash kernel, run without a GPU, is the reference's attention."""

import jax
import jax.numpy as jnp
import kernel_samples
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType
from short_form import slow_unless

from mmjax.ops import attention, triton

pytestmark = pytest.mark.usefixtures("quick_compilation")
H100 = AbstractDevice(
    device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu"
)


def by_kernel(q, k, v, segments, causal, scale=0.0):
    scale = scale or q.shape[-1] ** -0.5
    return triton.attend(q, k, v, segments, causal, scale, interpret=True)


@pytest.mark.parametrize("options", [{}, {"scale": 0.3}], ids=["plain", "scaled"])
def test_rows_of_documents_are_those_of_the_reference(options):
    kernel_samples.assert_equal(
        by_kernel, 256, kernel_samples.documents(256), True, **options
    )


@pytest.mark.parametrize("heads", [(4, 4), (4, 1)])
def test_query_heads_read_the_key_heads_that_are_theirs(heads):
    kernel_samples.assert_equal(
        by_kernel, 128, kernel_samples.documents(128), True, heads
    )


def test_heads_of_a_size_that_is_no_power_of_two_lose_nothing():
    kernel_samples.assert_equal(
        by_kernel, 128, kernel_samples.documents(128), True, size=20
    )


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("tokens", slow_unless([40, 150], [150]))
def test_tokens_that_fill_no_block_see_nothing_of_what_is_added(tokens, causal):
    kernel_samples.assert_equal(by_kernel, tokens, None, causal)


def test_nothing_passes_between_documents_or_from_the_future():
    kernel_samples.assert_nothing_leaks(by_kernel)


def test_what_is_kept_by_name_spares_the_backward_pass_the_forward_kernel():
    q, k, v = kernel_samples.inputs(128)

    def kernels(policy):
        def total(q):
            return jnp.sum(by_kernel(q, k, v, None, True))

        kept = jax.checkpoint(total, policy=policy)
        text = str(jax.make_jaxpr(jax.grad(kept))(q))
        return text.count("name=mha_forward"), text.count("name=mha_backward")

    policies = jax.checkpoint_policies
    assert kernels(policies.save_only_these_names(triton.RESIDUALS)) == (1, 1)
    assert kernels(policies.nothing_saveable) == (2, 1)


def of_gpus(function, *shapes):
    """The program of a function of bfloat16 arrays, for an H100 that needn't exist."""
    mesh = AbstractMesh((1,), ("any",), (AxisType.Auto,), abstract_device=H100)
    arguments = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes]
    with jax.sharding.use_abstract_mesh(mesh):
        traced = jax.jit(function).trace(*arguments)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("size", [80, 128])
def test_gpus_get_one_kernel_forward_and_two_backward_of_any_groups(size):
    """Pool groups and groups of heads become axes of the kernel's grid, by vmap."""
    segments = jnp.zeros((3, 2, 200), jnp.int32)

    def total(q, k, v):
        out = attention.in_groups(
            q, k, v, segments, None, None, causal=True, backend="triton", block=0
        )
        return jnp.sum(out.astype(jnp.float32))

    keys = (3, 2, 200, 2, size)
    program = of_gpus(
        jax.grad(total, argnums=(0, 1, 2)), (3, 2, 200, 8, size), keys, keys
    )
    assert program.count("stablehlo.custom_call @__gpu$xla.gpu.triton") == 3
