"""The splash kernel, run without a TPU, is the reference's attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import kernel_samples
import pytest
import synthetic
from jax.sharding import PartitionSpec

from mmjax.ops import splash

BLOCKS = splash.Blocks(128, 128, 128)
OPTIONS = {
    "documents": {},
    "window": {"window": 50},
    "capped": {"window": 130, "scale": 0.2, "softcap": 0.9},
}


def by_kernel(q, k, v, segments, causal, window=0, scale=0.0, softcap=0.0):
    mask = splash.Mask(causal, window, softcap)
    scale = scale or q.shape[-1] ** -0.5
    return splash.attend(q, k, v, segments, mask, scale, BLOCKS, interpret=True)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_rows_of_documents_are_those_of_the_reference(options):
    kernel_samples.assert_equal(
        by_kernel, 256, kernel_samples.documents(256), True, **options
    )


@pytest.mark.parametrize("size", [24, 128])
def test_heads_of_any_size_lie_as_the_kernel_wants_them(size):
    kernel_samples.assert_equal(
        by_kernel, 128, kernel_samples.documents(128), True, size=size
    )


@pytest.mark.parametrize("heads", [(4, 4), (4, 1)])
def test_query_heads_read_the_key_heads_that_are_theirs(heads):
    kernel_samples.assert_equal(
        by_kernel, 128, kernel_samples.documents(128), True, heads
    )


@pytest.mark.parametrize("causal", [True, False])
def test_tokens_that_fill_no_block_see_nothing_of_what_is_added(causal):
    kernel_samples.assert_equal(by_kernel, 150, None, causal)


def test_nothing_passes_between_documents_or_from_the_future():
    kernel_samples.assert_nothing_leaks(by_kernel)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(4096, (1024, 1024, 512)), (768, (768, 768, 384)), (640, (640, 640, 128))],
)
def test_blocks_are_cut_to_divide_the_row(tokens, expected):
    mask = splash.Mask(causal=False, window=0, softcap=0.0)
    kernel = splash._kernel((2, tokens, 80), mask, splash.Blocks(), 1, True)
    sizes = kernel.kwargs["block_sizes"]
    forward = sizes.block_q, sizes.block_kv, sizes.block_kv_compute
    backward = sizes.block_q_dkv, sizes.block_kv_dkv, sizes.block_kv_dkv_compute
    assert forward == backward == expected


class _Layer(nn.Module):
    """One layer of attention in the frame of the mesh, and nothing kept again."""

    mesh: jax.sharding.Mesh

    @nn.compact
    def __call__(self, x, _):
        mask = splash.Mask(False, 0, 0.0)

        def of_group(x):
            return splash.attend(x, x, x, None, mask, 1.0, BLOCKS, interpret=True)

        spec = PartitionSpec(None, "fsdp")
        alone = jax.shard_map(
            jax.vmap(of_group), mesh=self.mesh, in_specs=spec, out_specs=spec,
            check_vma=False,
        )  # fmt: skip
        return alone(x), None


def test_the_kernel_can_be_made_within_a_stack_that_keeps_everything():
    """There flax traces once more than with remat, within the gradient's trace."""
    splash._kernel.cache_clear()
    mesh = synthetic.mesh((1, 4, 1))
    layers = nn.scan(
        _Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=2
    )(mesh)

    def loss(x):
        return layers.apply({}, x, None)[0].sum()

    x = jnp.ones((1, 4, 128, 2, 128))
    _, grads = jax.eval_shape(jax.value_and_grad(loss), x)
    assert grads.shape == x.shape
