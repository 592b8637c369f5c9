"""The mixture of experts of a sparse layer: its parameters, and where tokens meet them.

Experts lie over the mesh axis `expert`, and each device has some of them for the pool
groups of its `data` slice. Tokens come to the experts, never the reverse: within a
capacity by an all-to-all of the buffers; dropless, where no buffer of a fixed size is
enough, every device of an `expert` axis sees the tokens of all and adds its experts'
part. An expert's own matrices are slices over `fsdp` and `context` (gathered where they
are used) and `tensor`, as those of other layers.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from mmjax import config
from mmjax.batch import PAD_SEGMENT
from mmjax.models import layers
from mmjax.ops import experts, moe, pointwise
from mmjax.ops.experts import Kernels
from mmjax.ops.moe import RouterSums, Routes


class Kernel(nn.Module):
    """The matrices of all experts for one product."""

    shape: tuple[int, ...]
    dtype: str
    gain: float = 1.0

    @nn.compact
    def __call__(self) -> Float[Array, "X inputs outputs"]:
        init = layers.fan_in(self.shape[1], self.gain)
        return self.param("kernel", init, self.shape).astype(self.dtype)


class Experts(nn.Module):
    """Sends each token to its top experts; padding goes to none and gets zeros."""

    decoder: config.Decoder
    dtype: str
    gain: float  # of the last matrices

    @nn.compact
    def __call__(
        self, x: Float[Array, "Z R T D"], segments_ZRT: Int[Array, "Z R T"]
    ) -> tuple[Float[Array, "Z R T D"], RouterSums]:
        chosen, width = self.decoder.moe, self.decoder.width
        router = layers.Linear((width,), (chosen.experts,), "float32", name="router")
        logits_ZRTX = router(x.astype(jnp.float32))
        routes = moe.route(logits_ZRTX, chosen.top_k)
        real_ZRT = segments_ZRT != PAD_SEGMENT
        sums = moe.router_sums(logits_ZRTX, routes, real_ZRT)
        up = (chosen.experts, width, self.decoder.mlp_width)
        down = (chosen.experts, self.decoder.mlp_width, width)
        kernels = Kernels(
            Kernel(up, self.dtype, name="gate")(),
            Kernel(up, self.dtype, name="up")(),
            Kernel(down, self.dtype, self.gain, name="down")(),
        )
        y, dropped = _spread(self.decoder, x, routes, real_ZRT, kernels)
        return y, sums._replace(dropped_L=dropped)


def _spread(
    decoder: config.Decoder,
    x: Float[Array, "Z R T D"],
    routes: Routes,
    real_ZRT: Bool[Array, "Z R T"],
    kernels: Kernels,
) -> tuple[Float[Array, "Z R T D"], Int[Array, ""]]:
    """The experts' output for tokens wherever they lie, and the choices dropped."""
    path = _within_capacity if decoder.moe.capacity_factor else _dropless
    if layers.on_one_device():
        return path(decoder, False, x, routes, real_ZRT, kernels)
    rows: Any = layers.fitting(x.shape[:3], layers.GROUPS, "fsdp", "context")
    over = ("fsdp", "context") if rows[2] else ("fsdp",)  # tokens differ along these
    shape = kernels.gate_XDF.shape
    wide: Any = layers.fitting(shape, "expert", over, "tensor")
    down: Any = P(wide[0], wide[2], wide[1])
    specs = kernels._replace(gate_XDF=wide, up_XDF=wide, down_XFD=down)

    def on_each(x, routes, real_ZRT, kernels):
        if wide[1] is not None:
            gather = functools.partial(_gathered, axes=over)
            kernels = jax.tree.map(gather, kernels, specs)
        kernels = _varying(kernels, "data", *(over if wide[1] is None else ()))
        if wide[2] is not None:
            x = _varying(x, "tensor")
        y, dropped = path(decoder, True, x, routes, real_ZRT, kernels)
        if wide[2] is not None:  # each device had a part of the hidden units
            y = jax.lax.psum(y, "tensor")
        return y, jax.lax.psum(dropped, (*layers.GROUPS, *over))

    spread: Any = jax.shard_map(
        on_each, in_specs=(rows, rows, rows, specs), out_specs=(rows, P())
    )
    return spread(x, routes, real_ZRT, kernels)


def _gathered(kernel: Array, spec: P, axes: tuple[str, ...]) -> Array:
    """The whole of a kernel's slices over these mesh axes."""
    place = next(i for i, entry in enumerate(spec) if axes[0] in (entry or ""))
    return jax.lax.all_gather(kernel, axes, axis=place, tiled=True)


def _varying(tree: Any, *axes: str) -> Any:
    """The same values, typed as different along these axes: gradients get summed."""
    return jax.tree.map(lambda x: jax.lax.pcast(x, axes, to="varying"), tree)


def _flat(tree: Any, axes: int) -> Any:
    """The first axes of each array made one."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[axes:]), tree)


def _dropless(decoder, on_mesh: bool, x, routes, real_ZRT, kernels):
    """All tokens of the `expert` axis, through the experts that this device has."""
    tokens = (x, routes, real_ZRT)
    if on_mesh:
        gather = functools.partial(
            jax.lax.all_gather, axis_name="expert", axis=0, tiled=True
        )
        tokens = jax.tree.map(gather, tokens)
        first = jax.lax.axis_index("expert") * kernels.gate_XDF.shape[0]
        x_all, found, real_all = tokens
        tokens = (x_all, found._replace(expert=found.expert - first), real_all)
    x_JD, routes, real_J = _flat(tokens, 3)
    activate, backend = pointwise.GATES[decoder.activation], decoder.moe.backend
    y_JD = experts.dropless(x_JD, routes, real_J, kernels, activate, backend)
    y = y_JD.astype(x.dtype).reshape(-1, *x.shape[1:])
    if on_mesh:
        y = jax.lax.psum_scatter(y, "expert", scatter_dimension=0, tiled=True)
    return y, jnp.zeros((), jnp.int32)


def _within_capacity(decoder, on_mesh: bool, x, routes, real_ZRT, kernels):
    """Each row fills its slots of every expert; the buffers go there and come back."""
    chosen, activate = decoder.moe, pointwise.GATES[decoder.activation]
    room = moe.capacity(
        x.shape[2], chosen.top_k, chosen.experts, chosen.capacity_factor
    )
    rows = real_ZRT.shape[0] * real_ZRT.shape[1]
    x_BTD, routes, real_BT = _flat((x, routes, real_ZRT), 2)
    place = functools.partial(moe.places, experts=chosen.experts, room=room)
    slots = jax.vmap(place)(routes.expert, real_BT)
    buffer = jax.vmap(moe.dispatch)(x_BTD, slots)
    buffer = buffer.reshape(rows, chosen.experts, room, -1).swapaxes(0, 1)
    buffer_XMD = buffer.reshape(chosen.experts, rows * room, -1)
    swap = functools.partial(jax.lax.all_to_all, axis_name="expert", tiled=True)
    if on_mesh:  # all experts for own rows -> own experts for all rows
        buffer_XMD = swap(buffer_XMD, split_axis=0, concat_axis=1)
        buffer_XMD = checkpoint_name(buffer_XMD, "routed")
    buffer_XMD = experts.within_capacity(buffer_XMD, kernels, activate)
    if on_mesh:
        buffer_XMD = swap(buffer_XMD, split_axis=1, concat_axis=0)
        buffer_XMD = checkpoint_name(buffer_XMD, "returned")
    buffer = buffer_XMD.reshape(chosen.experts, rows, room, -1).swapaxes(0, 1)
    y_BMD = buffer.reshape(rows, chosen.experts * room, -1)
    y = jax.vmap(moe.combine)(y_BMD, slots, routes.weight)
    lost = real_BT[..., None] & (slots.slot_JA == chosen.experts * room)
    return y.astype(x.dtype).reshape(x.shape), lost.sum(dtype=jnp.int32)
