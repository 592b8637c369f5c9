"""Where every array lives: the mesh, the table of parameter layouts, and batches.

Mesh axes: `data` (pool groups), `fsdp` (rows of a group, slices of weights), `tensor`
(heads, hidden units, vocabulary), `expert` (experts; for all else more of `data`) and
`context` (tokens of a row). Image slots lie over `fsdp`, `tensor` and `context`, so the
encoder is data-parallel on all devices and its weights are sliced over all three.

Weights are sliced over `context` wherever they are over `fsdp`: their gradients are
sums over the tokens of both, so slices ask no more of the links than copies would, and
memory is what long rows want.
"""

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmjax import config as config_lib
from mmjax.batch import OF_SLOTS, Batch, Share
from mmjax.config import Config
from mmjax.models import layers

AXES = ("data", "fsdp", "tensor", "expert", "context")
REPLICATED = PartitionSpec()
ROWS = PartitionSpec(layers.GROUPS, "fsdp")  # [Z, R]
TOKENS = PartitionSpec(*ROWS, "context")  # [Z, R, T]
SLOTS = PartitionSpec(layers.GROUPS, layers.SLOTS)  # [Z, C]
P = PartitionSpec
_ALL = ("fsdp", "tensor")  # order matters: the last is dropped first
_LAYER = r"decoder/(blocks|(blocks|rest)/layer\d+)"  # `config.layer_stacks`

# (path of a parameter, its layouts). Exactly one rule matches each path, whole; the
# optimizer's moments lie as their parameters do, or with `optim.zero1` `sliced`. Of
# several layouts the first counts whose slices are whole tiles of a TPU (see
# `_aligned`), else the first that divides. Where a rule says `fsdp`, read `fsdp` and
# then `context` (`_with_context`).
RULES: tuple[tuple[str, tuple[PartitionSpec, ...]], ...] = (
    (
        r"decoder/embedding",  # [V, D]
        (P("tensor", "fsdp"), P(("tensor", "fsdp"), None)),
    ),
    (r"decoder/unembed", (P("fsdp", "tensor"),)),
    (
        rf"{_LAYER}/(cross/)?attention/(query|key|value)/kernel",  # [L, D, N, H]
        (P(None, "fsdp", "tensor", None),),
    ),
    (
        rf"{_LAYER}/(cross/)?attention/out/kernel",  # [L, N, H, D]
        (P(None, "tensor", None, "fsdp"), P(None, "tensor", "fsdp", None)),
    ),
    (rf"{_LAYER}/(cross/)?mlp/(gate|up)/kernel", (P(None, "fsdp", "tensor"),)),
    (
        rf"{_LAYER}/(cross/)?mlp/down/kernel",  # [L, F, D]
        (P(None, "tensor", "fsdp"), P(None, ("tensor", "fsdp"), None)),
    ),
    (rf"{_LAYER}/cross/(attention|mlp)_gate", (REPLICATED,)),  # [L]
    (rf"{_LAYER}/moe/router/kernel", (REPLICATED,)),  # [L, D, X]
    (
        rf"{_LAYER}/moe/(gate|up)/kernel",  # [L, X, D, F]
        (P(None, "expert", "fsdp", "tensor"),),
    ),
    (rf"{_LAYER}/moe/down/kernel", (P(None, "expert", "tensor", "fsdp"),)),
    (
        r"(vit|second_vit|connector)/blocks/attention/(query|key|value)/kernel",
        (P(None, _ALL, None, None),),  # [L, E, N, H]
    ),
    (
        r"(vit|second_vit|connector)/blocks/attention/out/kernel",  # [L, N, H, E]
        (P(None, _ALL, None, None), P(None, None, None, _ALL)),
    ),
    (
        r"(vit|second_vit|connector|aim)/blocks/mlp/(gate|up|down)/kernel",
        (P(None, _ALL, None),),
    ),
    (r"connector/(project|mlp/\w+)/kernel", (P(_ALL, None),)),
    (
        r"connector/blocks/layer_\d+/(attention|cross)/(query|key|value)/kernel",
        (P(None, _ALL, None, None),),  # [L, E, N, H]
    ),
    (
        r"connector/blocks/layer_\d+/(attention|cross)/out/kernel",  # [L, N, H, E]
        (P(None, _ALL, None, None), P(None, None, None, _ALL)),
    ),
    (
        r"connector/blocks/layer_\d+/(mlp|mlp_words)/(up|down)/kernel",
        (P(None, _ALL, None),),
    ),
    (r"connector/words/embedding", (P(_ALL, None),)),  # [V, E]
    (r"connector/words/positions", (REPLICATED,)),
    (r"connector/entry/(expand|squeeze|out|shortcut)/kernel", (P(_ALL, None),)),
    (
        r"connector/(before|after)/(expand|squeeze|out)/kernel",  # [L, E, E]
        (P(None, _ALL, None),),
    ),
    (
        r"connector/positions|connector/(entry|before|after)/(depthwise|excite)/kernel",
        (REPLICATED,),
    ),
    (r"(vit|second_vit)/(patch_embed/kernel|positions)", (REPLICATED,)),
    (r"(vit|second_vit)/(class_token|class_position|registers)", (REPLICATED,)),
    (r"connector/(queries|newline)", (REPLICATED,)),
    (r"(contrast/(image|text)|aim/(enter|out))/kernel", (P(_ALL, None),)),
    (r"contrast/(log_scale|bias)", (REPLICATED,)),
    (r"(vit|second_vit|connector|decoder|aim)/(.+/)?(scale|bias)", (REPLICATED,)),
    (r"step|count", (REPLICATED,)),  # counters of the state and of the optimizer
)


def make_mesh(mesh: config_lib.Mesh, devices: Sequence[Any] | None = None) -> Mesh:
    """The device mesh of a resolved `config.mesh` (no axis is -1).

    Raises ValueError where TPU slices (or pods) can't lie along `data`.
    """
    shape = tuple(getattr(mesh, axis) for axis in AXES)
    found = list(jax.devices() if devices is None else devices)[: math.prod(shape)]
    return Mesh(_arranged(shape, found), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _arranged(shape: tuple[int, ...], devices: Sequence[Any]) -> np.ndarray:
    """The devices by mesh axes, neighbours of an axis near each other."""
    is_tpu = devices[0].platform == "tpu"
    index = [getattr(device, "slice_index", 0) for device in devices if is_tpu]
    slices = len(set(index)) or 1
    # An axis may take a part of an axis of the torus, as 16 of 8 x 8 chips do.
    if slices == 1:
        return mesh_utils.create_device_mesh(
            shape, devices, allow_split_physical_axes=True
        )
    if shape[0] % slices:
        raise ValueError(
            f"mesh.data={shape[0]}: must be a multiple of the {slices} slices: all "
            "other axes stay within one"
        )
    inside, across = (shape[0] // slices, *shape[1:]), (slices, *[1] * (len(shape) - 1))
    return mesh_utils.create_hybrid_device_mesh(
        inside, across, devices, allow_split_physical_axes=True
    )


def param_specs(tree: Any, mesh: Mesh) -> Any:
    """The PartitionSpec of each leaf of a tree of parameters, moments or a whole state.

    Leaves need only a shape. A mesh axis that doesn't divide its dimension is dropped.
    Raises ValueError for a path that no rule of RULES matches, or more than one.
    """

    def spec(keys: tuple, leaf: Any) -> PartitionSpec:
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        layouts = [_with_context(layout, mesh) for layout in _layouts(path)]
        whole = [s for s in layouts if _fit(s, leaf.shape, mesh) == s]
        aligned = [s for s in whole if _aligned(s, leaf.shape, mesh)]
        best = (aligned or whole or layouts)[0]
        return _fit(best, leaf.shape, mesh)

    return jax.tree_util.tree_map_with_path(spec, tree)


def state_shardings(tree: Any, mesh: Mesh) -> Any:
    """`param_specs` as shardings on the mesh."""
    specs = param_specs(tree, mesh)
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


def placed(tree: Any, mesh: Mesh) -> Any:
    """The leaves' shapes and dtypes with `state_shardings`, as `ShapeDtypeStruct`s."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        tree,
        state_shardings(tree, mesh),
    )


def sliced(tree: Any) -> Any:
    """The leaves of a `placed` tree, each sliced over the axes of pool groups, too.

    ZeRO-1's layout of moments (arXiv 1910.02054). What RULES replicate is too small to
    be worth it and stays, and so does a leaf with no dimension that the axes divide.
    """
    return jax.tree.map(
        lambda leaf: leaf.update(
            sharding=NamedSharding(leaf.sharding.mesh, _sliced(leaf))
        ),
        tree,
    )


def _sliced(leaf: jax.ShapeDtypeStruct) -> PartitionSpec:
    """The leaf's layout with more axes on the dimension that they cut best.

    That is into the most slices, then into whole tiles, then not across lanes (XLA for
    TPUs makes no reduce-scatter of that), then where slices were the largest. A first
    dimension that isn't sliced are layers: a scan takes them one by one.
    """
    placed: Any = leaf.sharding
    mesh, spec, pieces = placed.mesh, placed.spec, placed.shard_shape(leaf.shape)
    taken = {axis for entry in spec for axis in _axes(entry)}
    more = tuple(a for a in layers.GROUPS if a not in taken and mesh.shape[a] > 1)
    found = [(spec, (1, True, True, 0))]
    for dimension in range(spec[:1] == (None,), len(spec)):
        axes = _axes(spec[dimension])
        entries = [*spec[:dimension], (*axes, *more), *spec[dimension + 1 :]]
        layout = _fit(PartitionSpec(*entries), leaf.shape, mesh)
        slices = _shards(_axes(layout[dimension]), mesh) // _shards(axes, mesh)
        whole = _aligned(layout, leaf.shape, mesh, rows=8)
        rank = slices, whole, dimension + 1 < len(spec), pieces[dimension]
        found.append((layout, rank))
    return max(found, key=lambda each: each[1])[0]


def _layouts(path: str) -> tuple[PartitionSpec, ...]:
    """The layouts of the one rule that matches a path, or its end after a slash."""
    matches = [
        layouts for pattern, layouts in RULES if re.search(f"(^|/)({pattern})$", path)
    ]
    if len(matches) != 1:
        raise ValueError(
            f"{path}: {len(matches)} rules of mmjax.sharding.RULES match it, must be 1"
        )
    return matches[0]


def _with_context(spec: PartitionSpec, mesh: Mesh) -> PartitionSpec:
    """The spec with `context` last wherever `fsdp` is, if that axis has devices."""
    if mesh.shape["context"] == 1:
        return spec
    entries = [
        (*_axes(entry), "context") if "fsdp" in _axes(entry) else entry
        for entry in spec
    ]
    return PartitionSpec(*entries)


def _axes(entry: Any) -> tuple[str, ...]:
    """The mesh axes of one dimension of a PartitionSpec."""
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _shards(axes: Sequence[str], mesh: Mesh) -> int:
    return math.prod(mesh.shape[axis] for axis in axes)


def _fit(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """The spec without the axes that don't divide their dimension, last ones first."""
    entries = []
    for entry, size in zip(spec, shape):
        axes = _axes(entry)
        while axes and size % _shards(axes, mesh):
            axes = axes[:-1]
        entries.append(axes if len(axes) > 1 else axes[0] if axes else None)
    return PartitionSpec(*entries)


def _aligned(
    spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh, rows: int = 16
) -> bool:
    """Whether slices are whole tiles of `rows` x 128 in the last two dimensions.

    Tiles of bfloat16 have 16 rows, of float32 8. Where slices aren't whole tiles, XLA
    for TPUs gathers weights by an all-reduce of twice the bytes.
    """
    for entry, size, tile in zip(reversed(spec), reversed(shape), (128, rows)):
        shards = _shards(_axes(entry), mesh)
        if shards > 1 and (size // shards) % tile:
            return False
    return True


def batch_shardings(mesh: Mesh) -> Batch:
    """A `Batch` of shardings: rows over groups, fsdp and context, slots over all."""
    shardings: list[Any] = [
        NamedSharding(mesh, _batch_spec(name)) for name in Batch._fields
    ]
    return Batch(*shardings)


def _batch_spec(field: str) -> PartitionSpec:
    return SLOTS if field in OF_SLOTS else TOKENS


def batch_shapes(config: Config, capacity: int) -> Batch:
    """A `Batch` of `jax.ShapeDtypeStruct`s of the global batch; capacity is C."""
    data, side = config.data, config.model.vit.image_size
    groups, rows = data.rows_per_batch // data.rows_per_pool, data.rows_per_pool
    tokens = (groups, rows, data.row_tokens)
    shapes = {
        "loss_mask_ZRT": (tokens, np.bool_),
        "pixels_ZChwc": ((groups, capacity, side, side, 3), np.uint8),
        "real_ZC": ((groups, capacity), np.bool_),
        "texts_ZCW": (
            (groups, capacity, config_lib.text_tokens(config.model)),
            np.int32,
        ),
    }
    structs: list[Any] = [
        jax.ShapeDtypeStruct(*shapes.get(name, (tokens, np.int32)))
        for name in Batch._fields
    ]
    return Batch(*structs)


def share(mesh: Mesh, groups: int, rows: int, slots: int) -> Share:
    """The box of a [Z, R] x [Z, C] batch that this process's devices hold, rows whole.

    The smallest box around all of them: devices of one process that don't lie beside
    each other in the mesh make it hold more than they need.
    """
    row_boxes = NamedSharding(mesh, ROWS).addressable_devices_indices_map(
        (groups, rows)
    )
    slot_boxes = NamedSharding(mesh, SLOTS).addressable_devices_indices_map(
        (groups, slots)
    )

    def around(boxes: Any, axis: int, size: int) -> tuple[int, int]:
        ranges = [box[axis].indices(size) for box in boxes.values()]
        return min(r[0] for r in ranges), max(r[1] for r in ranges)

    return Share(
        groups=around(row_boxes, 0, groups),
        rows=around(row_boxes, 1, rows),
        slots=around(slot_boxes, 1, slots),
    )


def to_device(batch: Batch, held: Share, mesh: Mesh, shapes: Batch) -> Batch:
    """Global arrays from the host arrays of this process's share of the batch.

    `shapes` are those of the global batch (`batch_shapes`). Every process calls this
    with its own share; nothing is sent between them.
    """
    specs = map(_batch_spec, Batch._fields)
    arrays: list[Any] = [
        _global_array(part, whole, NamedSharding(mesh, spec), _corner(held, spec))
        for part, whole, spec in zip(batch, shapes, specs)
    ]
    return Batch(*arrays)


def _corner(held: Share, spec: PartitionSpec) -> tuple[int, int]:
    """Where the share begins in the first two dimensions of an array, the cut ones."""
    return held.groups[0], (held.slots if spec == SLOTS else held.rows)[0]


def _global_array(
    part: Any, whole: Any, sharding: NamedSharding, corner: tuple[int, int]
) -> jax.Array:
    """The array of shape `whole.shape` of which `part` is the box at `corner`."""

    def piece(index: Any) -> np.ndarray:
        box = []
        corners = itertools.chain(corner, itertools.repeat(0))
        for place, size, at in zip(index, whole.shape, corners):
            start, stop, _ = place.indices(size)
            box.append(slice(start - at, stop - at))
        return np.asarray(part)[tuple(box)]

    return jax.make_array_from_callback(whole.shape, sharding, piece, dtype=whole.dtype)
