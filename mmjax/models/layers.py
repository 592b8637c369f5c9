"""Linen modules that encoder, connector and decoder share: they own parameters.

The strict dialect: one collection, `params`; no randomness or mutable state when
applied; `nn.scan` and `nn.remat` the only lifted transforms; every submodule named.
Parameters are float32 and are cast to the `dtype` of the activations where used.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from mmjax.models import backends, products
from mmjax.ops import (
    attention,
    context,
    kernels,
    layouts,
    pointwise,
    quantized,
    recall,
    rope,
    splash,
)

_policies = jax.checkpoint_policies

RESIDUALS = ("attention",)  # what backends name: outputs, and logs of sums
# Products of a layer with its parameters; what went to the experts and came back.
PROJECTIONS = ("query", "key", "value", "out", "gate", "up", "routed", "returned")

# What the backward pass keeps of a layer besides its input: everything; products with
# parameters, and what attention would compute again; the latter and PROJECTIONS, on the
# device or in the host's memory; the latter alone; nothing.
REMATS: dict[str, Callable | None] = {
    "none": None,
    "dots": _policies.save_from_both_policies(
        _policies.dots_with_no_batch_dims_saveable,
        _policies.save_only_these_names(*RESIDUALS),
    ),
    "projections": _policies.save_only_these_names(*RESIDUALS, *PROJECTIONS),
    "offload": _policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[*RESIDUALS, *PROJECTIONS],
        offload_src="device",
        offload_dst="pinned_host",
    ),
    "attention": _policies.save_only_these_names(*RESIDUALS),
    "full": _policies.nothing_saveable,
}

GROUPS = ("data", "expert")  # the mesh axes that pool groups lie over
SLOTS = ("fsdp", "tensor", "context")  # and those that images of a group lie over


def fan_in(inputs: int, gain: float = 1.0) -> Callable:
    """Truncated normal of standard deviation gain / sqrt(inputs)."""
    # Cut at two deviations, the normal keeps 0.8796 of its own.
    return nn.initializers.truncated_normal(gain / math.sqrt(inputs) / 0.8796)


def rematted(block: type[nn.Module], remat: str) -> type[nn.Module]:
    """The block, with what its backward pass keeps: `remat` is a key of REMATS."""
    policy = REMATS[remat]
    if policy is None:
        return block
    return nn.remat(block, policy=policy, prevent_cse=False)


def stack(block: type[nn.Module], layers: int, remat: str, arguments: int) -> Callable:
    """The module class that applies `layers` blocks, with parameters stacked on L.

    A block maps (x, *arguments) to (x, output); the arguments are the same for all
    layers, the outputs (None, or a tree of arrays) are stacked on L too. `remat` is a
    key of REMATS: what of a layer is kept for the backward pass.
    """
    block = rematted(block, remat)
    broadcast: Any = (nn.broadcast,) * arguments
    return nn.scan(
        block,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=broadcast,
        length=layers,
    )


def pin(x: Array, *axes: str | tuple[str, ...] | None) -> Array:
    """Fixes the sharding of an array; without a mesh, nothing happens.

    Mesh axes that don't divide their dimension are left out.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, fitting(x.shape, *axes))


def fitting(
    shape: tuple[int, ...], *axes: str | tuple[str, ...] | None
) -> PartitionSpec:
    """The spec of these mesh axes, without those that don't divide their dimension."""
    mesh = jax.sharding.get_abstract_mesh()

    def divides(axis: str | tuple[str, ...] | None, size: int) -> bool:
        names = axis if isinstance(axis, tuple) else (axis,) if axis else ()
        return size % math.prod(mesh.shape[name] for name in names) == 0

    spec = [axis if divides(axis, size) else None for axis, size in zip(axes, shape)]
    return PartitionSpec(*spec)


def features_last(x: Array) -> Array:
    """The array, with the numbers of a position side by side in a TPU's memory.

    Left alone, TPUs' compiler lays rows of the decoder out with positions side by side,
    for the sake of one of their readers, and copies them for the others.
    """
    return layouts.in_order(x) if backends.platform() == "tpu" else x


def shards(axis: str, size: int) -> int:
    """The parts that a dimension of this size is cut in along a mesh axis."""
    devices = dict(jax.sharding.get_abstract_mesh().shape).get(axis, 1)
    return devices if size % devices == 0 else 1


def on_one_device() -> bool:
    """No mesh, or a mesh of one device, is in force."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.empty or mesh.size == 1


class LayerNorm(nn.Module):
    """`pointwise.layer_norm` with scale and bias of the given width."""

    width: int
    eps: float

    @nn.compact
    def __call__(self, x: Float[Array, "*axes D"]) -> Float[Array, "*axes D"]:
        scale = self.param("scale", nn.initializers.ones, (self.width,))
        bias = self.param("bias", nn.initializers.zeros, (self.width,))
        return pointwise.layer_norm(x, scale, bias, self.eps)


class RMSNorm(nn.Module):
    """`pointwise.rms_norm` with a scale of the given width."""

    width: int
    eps: float
    unit_offset: bool = False  # 1 is added to the scale, which starts at 0

    @nn.compact
    def __call__(self, x: Float[Array, "*axes D"]) -> Float[Array, "*axes D"]:
        if self.unit_offset:
            scale = 1 + self.param("scale", nn.initializers.zeros, (self.width,))
        else:
            scale = self.param("scale", nn.initializers.ones, (self.width,))
        return pointwise.rms_norm(x, scale, self.eps)


class LayerScale(nn.Module):
    """Each channel times a number of its own (CaiT, arXiv 2103.17239)."""

    width: int
    start: float

    @nn.compact
    def __call__(self, x: Float[Array, "*axes D"]) -> Float[Array, "*axes D"]:
        init = nn.initializers.constant(self.start)
        return x * self.param("scale", init, (self.width,)).astype(x.dtype)


class Linear(nn.Module):
    """Contracts the last axes, `inputs`, of an array to `outputs`."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    dtype: str
    bias: bool = False
    gain: float = 1.0  # of the initial kernel, 1 keeps the variance
    quantization: str = "none"  # or a key of quantized.KINDS
    for_kernel: bool = False  # a kernel of TPUs reads the outputs

    @nn.compact
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        rows = x.shape[: x.ndim - len(self.inputs)]
        y = self._by_kernel(x, rows)
        if self.bias:
            bias: Any = self.param("bias", nn.initializers.zeros, self.outputs)
            if self.for_kernel:
                y = pointwise.add_bias(y, bias)
            elif products.in_float32():
                y = products.add(y, bias)
            else:
                y = y + bias.astype(self.dtype)
        return y

    def _by_kernel(self, x: Array, rows: tuple[int, ...]) -> Array:
        init = fan_in(math.prod(self.inputs), self.gain)
        kernel = self.param("kernel", init, (*self.inputs, *self.outputs))
        if products.in_float32() and not on_one_device():
            return products.multiply(x.astype(self.dtype), kernel, len(self.inputs))
        kernel = kernel.astype(self.dtype)
        if on_one_device():
            # XLA's CPU backend is fast on products of two matrices only. Elsewhere
            # the axes stay apart: merging two that are sharded would gather them.
            inputs, outputs = math.prod(self.inputs), math.prod(self.outputs)
            x, kernel = x.reshape(-1, inputs), kernel.reshape(inputs, outputs)
            y = quantized.tensordot(x, kernel, 1, self.quantization)
            return y.reshape(*rows, *self.outputs)
        return quantized.tensordot(x, kernel, len(self.inputs), self.quantization)


class Attention(nn.Module):
    """Multi-head attention from rows of width `width` to sources of `source_width`."""

    width: int
    source_width: int
    heads: int
    kv_heads: int
    head_size: int
    dtype: str
    bias: bool
    causal: bool
    backend: str
    block: int
    gain: float  # of the output projection
    sharpness: float = 1.0  # gain of the query projection
    out_bias: bool = True  # of the output projection, where `bias` is
    # Makes the norm of each head's queries and keys: norm(width, name=...).
    head_norm: Callable[..., nn.Module] | None = None
    window: int = 0  # this and the next two as in `attention.attend`
    scale: float = 0.0
    softcap: float = 0.0
    blocks: splash.Blocks = splash.DEFAULT
    # Mesh axes that rows, heads and tokens lie over, where each device attends alone.
    rows_over: str | tuple[str, ...] = "fsdp"
    heads_over: str | None = "tensor"
    quantization: str = "none"  # of the four linear layers
    tokens_over: str | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "Z R T D"],
        source: Float[Array, "Z R S E"],
        segments: Int[Array, "Z R T"] | None = None,
        turn: rope.Rotation | None = None,
        prefix_ZR: Int[Array, "Z R"] | None = None,
        keys: attention.Range | None = None,
        attend: recall.Attend | None = None,
    ) -> Any:
        """[Z, R, T, D]; of `attend`, which then takes the place of attention within
        rows, also what it keeps.
        """
        q = self._project("query", self.width, self.heads, self.sharpness)(x)
        k = self._project("key", self.source_width, self.kv_heads)(source)
        v = self._project("value", self.source_width, self.kv_heads)(source)
        if self.head_norm is not None:
            q = self.head_norm(self.head_size, name="norm_query")(q)
            k = self.head_norm(self.head_size, name="norm_key")(k)
        splashed = self.backend == "splash"
        if turn is not None:
            rotate = rope.rotate_by_products if splashed else rope.rotate
            q, k = rotate(q, turn), rotate(k, turn)
        inner, bias = (self.heads, self.head_size), self.bias and self.out_bias
        linear = Linear(
            inner, (self.width,), self.dtype, bias, self.gain, self.quantization,
            name="out",
        )  # fmt: skip
        if attend is not None:
            rule = recall.Rule(self.window, self.scale, self.softcap)
            out, kept = attend(q, k, v, rule)
            return linear(out), kept
        scale = self.scale or self.head_size**-0.5
        if splashed:  # what is kept is then what the kernel reads, without a copy
            q, scale = q * scale, 1.0
        q, k = checkpoint_name(q, "query"), checkpoint_name(k, "key")
        v = checkpoint_name(v, "value")
        out = self._attend(q, k, v, scale, segments, prefix_ZR, keys)
        return checkpoint_name(linear(out), "out")

    def _project(self, name: str, width: int, heads: int, gain: float = 1.0) -> Linear:
        outputs = (heads, self.head_size)
        return Linear(
            (width,), outputs, self.dtype, self.bias, gain, self.quantization,
            for_kernel=self.backend == "splash", name=name,
        )  # fmt: skip

    def _attend(self, q, k, v, scale, segments, prefix_ZR, keys) -> Array:
        of_rows = functools.partial(
            attention.in_groups, causal=self.causal, backend=self.backend,
            block=self.block, window=self.window, scale=scale, softcap=self.softcap,
            blocks=self.blocks,
        )  # fmt: skip
        kernel = self.backend in kernels.KERNELS and prefix_ZR is None and keys is None
        over = self._over(q.shape[2])
        if jax.sharding.get_abstract_mesh().empty or not (kernel or over):
            return of_rows(q, k, v, segments, prefix_ZR, keys)
        # The partitioner can't look into a kernel, nor deal a row's tokens: each device
        # attends by itself.
        queries = fitting(q.shape, GROUPS, self.rows_over, over, self.heads_over, None)
        sources, alone = queries, of_rows
        if over and keys is None:
            alone = functools.partial(context.attend, of_rows, over)
        elif over:
            sources = PartitionSpec(*queries[:2], None, *queries[3:])
        of_tokens = PartitionSpec(*queries[:3])
        attend = jax.shard_map(
            lambda q, k, v, segments, keys: alone(q, k, v, segments, None, keys),
            in_specs=(queries, sources, sources, of_tokens, of_tokens),
            out_specs=queries,
            check_vma=False,
        )
        return attend(q, k, v, segments, keys)

    def _over(self, tokens: int) -> str | None:
        """The mesh axis over which rows of so many tokens lie, two pieces a device."""
        axis = self.tokens_over
        if axis is None or tokens % 2 or shards(axis, tokens // 2) == 1:
            return None
        return axis


class Mlp(nn.Module):
    """Two layers with an activation between.

    Gated, the activation's argument is a third layer's output, and what it gives
    multiplies the first's.
    """

    inputs: int
    hidden: int
    outputs: int
    activation: str  # a key of pointwise.ACTIVATIONS
    dtype: str
    gain: float = 1.0  # of the second layer
    bias: bool = True
    gated: bool = False
    quantization: str = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "*axes E"]) -> Float[Array, "*axes D"]:
        shape = ((self.inputs,), (self.hidden,), self.dtype, self.bias)
        make = functools.partial(Linear, quantization=self.quantization)
        activation = pointwise.ACTIVATIONS[self.activation]
        up = checkpoint_name(make(*shape, name="up")(x), "up")
        hidden: Any = activation(up)
        if self.gated:
            gate = checkpoint_name(make(*shape, name="gate")(x), "gate")
            hidden = features_last(pointwise.gated(activation, gate, up))
        return make(
            (self.hidden,), (self.outputs,), self.dtype, self.bias, self.gain,
            name="down",
        )(hidden)  # fmt: skip
