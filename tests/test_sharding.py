import dataclasses
import importlib.util
import pathlib
import re
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import synthetic
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from mmjax import config as config_lib
from mmjax import inventory, optim, sharding, step
from mmjax.batch import Batch, Share
from mmjax.config import Mesh
from mmjax.estimate import compiling
from mmjax.models import vlm

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(
    path
    for path in (ROOT / "configs").rglob("*.py")
    if "def get_config(" in path.read_text()
)


pytestmark = pytest.mark.usefixtures("quick_compilation")


def abstract_mesh(
    data: int, fsdp: int, tensor: int, expert: int = 1, context: int = 1
) -> AbstractMesh:
    """A mesh of devices that needn't exist."""
    sizes = (data, fsdp, tensor, expert, context)
    return AbstractMesh(sizes, sharding.AXES, (AxisType.Auto,) * len(sizes))


def read_config(path: pathlib.Path) -> config_lib.Config:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def two_encoders() -> config_lib.Config:
    """Encoders with all that an encoder may have; the second resizes its images."""
    config = synthetic.config()
    vit = config.model.vit
    vit.class_token, vit.registers, vit.gated, vit.layer_scale = True, 2, True, 0.1
    vit.embedding_norm, vit.position_grid = "tokens", 3
    sizes = {"image_size": 12, "patch_size": 6, "enabled": True}
    config.model.second_vit = config_lib.SecondViT(**(vars(vit) | sizes))
    return config


def every_config() -> dict[str, config_lib.Config]:
    configs = {path.stem: read_config(path) for path in FILES}
    configs["default"] = config_lib.Config()
    for kind in config_lib.CONNECTORS:
        configs[kind] = synthetic.config()
        configs[kind].model.connector.kind = kind
        configs[kind].model.connector.tokens = 4
    configs["optional"] = synthetic.config()
    configs["optional"].model.decoder = dataclasses.replace(
        configs["optional"].model.decoder,
        layers=5, window=4, global_every=2, qkv_bias=True, qk_norm=True,
        post_norms=True,
    )  # fmt: skip
    configs["two encoders"] = two_encoders()
    configs["deep"] = synthetic.config()
    configs["deep"].model.connector = config_lib.Connector(
        kind="mlp", tokens=4, mlp_depth=3, prenorm=True
    )
    configs["deep"].model.preprocessing = config_lib.Preprocessing(
        tiling="anyres", unpad=True, newline=True
    )
    for kind in config_lib.OBJECTIVES:
        configs[kind] = synthetic.config()
        configs[kind].model.objective.kind = kind
        configs[kind].model.decoder.tied_embeddings = True
    configs["tied"] = synthetic.config()
    configs["tied"].model.decoder.tied_embeddings = True
    configs["instructed"] = synthetic.config()
    configs["instructed"].model.connector.kind = "qformer"
    configs["instructed"].model.connector.qformer.text = 8
    configs["experts"] = synthetic.config()
    configs["experts"].model.decoder.moe = config_lib.Moe(experts=4)
    return configs


def abstract_state(config, mesh):
    return step.abstract_state(vlm.build(config.model), config, mesh)


@pytest.mark.parametrize("name", every_config())
def test_every_parameter_and_moment_matches_exactly_one_rule(name):
    config = every_config()[name]
    state = optim.flatten(abstract_state(config, abstract_mesh(2, 2, 2)))
    paths = {path.removeprefix("params/"): leaf for path, leaf in state.items()}
    for path in paths:
        matches = [
            rule for rule, _ in sharding.RULES if re.search(f"(^|/)({rule})$", path)
        ]
        assert len(matches) == 1, path
    for moment in ("mu", "nu"):
        prefix = f"opt_state/1/{moment}/"
        moments = {p: x for p, x in paths.items() if p.startswith(prefix)}
        assert moments
        for path, leaf in moments.items():
            assert leaf.sharding == paths[path.removeprefix(prefix)].sharding


def test_every_rule_is_used():
    paths = [
        path
        for config in every_config().values()
        for path in optim.flatten(abstract_state(config, abstract_mesh(1, 1, 1)))
    ]
    for rule, _ in sharding.RULES:
        assert any(re.search(f"(^|/)({rule})$", path) for path in paths), rule


def test_a_path_that_no_rule_or_two_match_is_refused(monkeypatch):
    mesh = abstract_mesh(1, 1, 1)
    tree = {"decoder": {"embeding": np.zeros((4, 4))}}
    with pytest.raises(ValueError, match="decoder/embeding: 0 rules"):
        sharding.param_specs(tree, mesh)
    doubled = (*sharding.RULES, ("decoder/embedding", (P(),)))
    monkeypatch.setattr(sharding, "RULES", doubled)
    tree = {"decoder": {"embedding": np.zeros((4, 4))}}
    with pytest.raises(ValueError, match="decoder/embedding: 2 rules"):
        sharding.param_specs(tree, mesh)


def test_axes_that_do_not_divide_are_dropped():
    tree = {"decoder": {"embedding": np.zeros((6, 8)), "unembed": np.zeros((8, 7))}}
    specs = sharding.param_specs(tree, abstract_mesh(1, 4, 2))["decoder"]
    assert specs == {"embedding": P("tensor", "fsdp"), "unembed": P("fsdp", None)}
    tree = {"vit": {"blocks": {"mlp": {"up": {"kernel": np.zeros((2, 12, 8))}}}}}
    specs = sharding.param_specs(tree, abstract_mesh(1, 4, 2))
    assert optim.flatten(specs)["vit/blocks/mlp/up/kernel"] == P(None, "fsdp", None)


@pytest.mark.slow
def test_weights_are_sliced_over_context_as_over_fsdp():
    config = synthetic.config()
    config.model.decoder.moe = config_lib.Moe(experts=4)
    meshes = abstract_mesh(1, 4, 2, 1), abstract_mesh(1, 2, 2, 1, 2)
    for path, one in optim.flatten(abstract_state(config, meshes[0]).params).items():
        other = optim.flatten(abstract_state(config, meshes[1]).params)[path]
        shapes = [x.sharding.shard_shape(x.shape) for x in (one, other)]
        assert shapes[0] == shapes[1], path
    specs = sharding.param_specs(
        {"decoder": {"embedding": np.zeros((6, 2))}}, meshes[1]
    )
    assert specs["decoder"]["embedding"] == P("tensor", "fsdp")  # 2 are no 4 slices


def test_slices_of_mm1_3b_are_whole_tiles_and_nothing_large_is_replicated():
    """The mesh of the recipe; TPU tiles are 16 x 128 in the last two dimensions."""
    config = read_config(ROOT / "configs" / "mm1_3b.py")
    params = abstract_state(config, abstract_mesh(16, 16, 1)).params
    for path, leaf in optim.flatten(params).items():
        piece = leaf.sharding.shard_shape(leaf.shape)
        if leaf.size > 4e6:
            assert np.prod(piece) * 16 == leaf.size, path
        for size, part, tile in zip(leaf.shape[-2:], piece[-2:], (16, 128)):
            # 2560 = 20 heads x 128: no dimension of `out` has 16 slices of whole tiles.
            assert (
                part == size
                or part % tile == 0
                or path.endswith("decoder/blocks/attention/out/kernel")
            ), path


def moment(shape, mesh, *path: str):
    """The layout of a parameter, and that of its moments with ZeRO-1."""
    tree: Any = np.zeros(shape, np.float32)
    for key in reversed(path):
        tree = {key: tree}
    placed = sharding.placed(tree, mesh)
    (before,), (after,) = map(jax.tree.leaves, (placed, sharding.sliced(placed)))
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    return before.sharding.spec, after.sharding.spec


@pytest.mark.parametrize(
    ("path", "shape", "sizes", "expected"),
    [
        # Rows of the matrix, not its lanes, and never layers.
        ("mlp/up", (8, 512, 1024), (4, 2, 1), P(None, ("fsdp", "data"), "tensor")),
        # 16 rows don't fill the tiles of 8 slices, 1024 lanes do.
        ("mlp/up", (8, 16, 1024), (8, 1, 1), P(None, "fsdp", ("tensor", "data"))),
        # Only the lanes divide at all.
        ("mlp/up", (8, 9, 12), (4, 1, 1), P(None, "fsdp", ("tensor", "data"))),
        ("mlp/up", (8, 9, 11), (4, 1, 1), P(None, "fsdp", "tensor")),
        # Where both can't be had, the most slices: data without expert.
        ("mlp/up", (8, 6, 9), (2, 1, 1, 2), P(None, ("fsdp", "data"), "tensor")),
        # Experts lie over their own axis already.
        ("moe/up", (8, 4, 512, 256), (2, 2, 1, 2),
         P(None, "expert", ("fsdp", "data"), "tensor")),
        ("norm_mlp/scale", (8, 512), (4, 2, 1), P()),
    ],
)  # fmt: skip
def test_moments_are_sliced_over_data_where_it_divides(path, shape, sizes, expected):
    names = [*path.split("/"), *([] if path.endswith("scale") else ["kernel"])]
    mesh = abstract_mesh(*sizes)
    assert moment(shape, mesh, "decoder", "blocks", *names)[1] == expected


def test_moments_of_every_config_keep_the_slices_of_their_parameters():
    mesh = abstract_mesh(4, 2, 2, 2)
    for config in every_config().values():
        state = abstract_state(config, mesh)
        config.optim.zero1 = True
        cut = abstract_state(config, mesh)
        assert cut.params == state.params
        for left, right in zip(
            jax.tree.leaves(cut.opt_state), jax.tree.leaves(state.opt_state)
        ):
            sizes = (x.sharding.shard_shape(x.shape) for x in (right, left))
            assert all(old % new == 0 for old, new in zip(*sizes))


def test_zero1_leaves_a_share_of_mm1_3bs_moments_to_each_device():
    config = read_config(ROOT / "configs" / "mm1_3b.py")
    mesh, model = abstract_mesh(4, 16, 1), vlm.build(config.model)
    before = inventory.memory(model, config, mesh, 16)
    config.optim.zero1 = True
    after = inventory.memory(model, config, mesh, 16)
    assert after["parameters"] == before["parameters"]
    for name in ("moments", "gradients"):  # with 5 M numbers that RULES replicate
        assert before[name] / after[name] == pytest.approx(4, rel=0.07)
    config.optim.moments_dtype = "bfloat16"
    half = inventory.memory(model, config, mesh, 16)
    assert half["moments"] == pytest.approx(after["moments"] / 2, rel=1e-5)


def filled(shapes: Batch) -> Batch:
    """Different numbers everywhere."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 99, leaf.shape).astype(leaf.dtype) for leaf in shapes]
    return Batch(*arrays)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 2, 2), (1, 2, 4), (4, 1, 2), (1, 2, 1, 1, 4)]
)
def test_a_batch_reaches_the_devices_unchanged(shape):
    mesh = synthetic.mesh(shape)
    shapes = sharding.batch_shapes(synthetic.config(), 8)
    batch = filled(shapes)
    share = sharding.share(mesh, 4, 2, 8)
    assert share == Share((0, 4), (0, 2), (0, 8))  # one process holds it all
    placed = sharding.to_device(batch, share, mesh, shapes)
    for made, host, wanted in zip(placed, batch, sharding.batch_shardings(mesh)):
        assert made.sharding == wanted
        assert made.dtype == host.dtype
        np.testing.assert_array_equal(made, host)


def test_slots_lie_over_all_axes_and_rows_over_two():
    mesh = synthetic.mesh((2, 2, 2))
    shardings = sharding.batch_shardings(mesh)
    assert shardings.pixels_ZChwc == NamedSharding(
        mesh, P(("data", "expert"), ("fsdp", "tensor", "context"))
    )
    assert shardings.real_ZC.shard_shape((4, 8)) == (2, 2)
    assert shardings.tokens_ZRT.shard_shape((4, 2, 16)) == (2, 1, 16)
    shardings = sharding.batch_shardings(synthetic.mesh((1, 2, 1, 1, 4)))
    assert shardings.real_ZC.shard_shape((4, 8)) == (4, 1)
    assert shardings.tokens_ZRT.shard_shape((4, 2, 16)) == (4, 1, 4)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (synthetic.config, synthetic.EIGHT),
        (synthetic.config, (2, 2, 1, 1, 2)),
        pytest.param(two_encoders, synthetic.EIGHT, marks=pytest.mark.slow),
        pytest.param(synthetic.config, (2, 1, 1, 1, 4), marks=pytest.mark.slow),
        pytest.param(synthetic.config, (2, 1, 2, 1, 2), marks=pytest.mark.slow),
    ],
)
def test_no_collective_exceeds_a_groups_image_tokens_or_the_largest_parameter(
    make, shape, capfd
):
    """Proportions as in MM1-3B: activations of the batch larger than any weight.

    Nor does one exceed the keys (or the values) of a layer for a group's rows, which
    are of a size with its image tokens here.
    """
    config = make()
    data, model = config.data, config.model
    data.row_tokens, data.rows_per_pool, data.pool_capacity = 64, 4, 16
    model.connector.tokens, model.loss_chunk = 8, 16
    model.vit.image_size, model.vit.width = 16, 32
    model.second_vit.image_size, model.second_vit.width = 24, 32
    model.decoder.vocab_size = 64
    width = model.decoder.width
    mesh = synthetic.mesh(shape)
    params = step.abstract_state(vlm.build(model), config, mesh).params
    limit = max(
        data.pool_capacity * model.connector.tokens * width,
        *(leaf.size for leaf in jax.tree.leaves(params)),
    )
    hidden = data.rows_per_pool * data.row_tokens * width
    patches = data.pool_capacity * config_lib.patches(model.vit) * model.vit.width
    assert min(hidden, patches) > limit  # of a group: such a collective would be seen
    compiled = synthetic.lower(config, shape).compile()
    found = synthetic.collectives(compiled.as_text())
    assert found
    assert [each for each in found if each[2] > limit] == []
    assert "Involuntary full rematerialization" not in capfd.readouterr().err


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 2, 2, 1, 1), (1, 2, 1, 2, 2)])
def test_off_a_torus_devices_lie_as_jax_itself_lays_them(sizes):
    types = (AxisType.Auto,) * len(sizes)
    expected = jax.make_mesh(sizes, sharding.AXES, axis_types=types)
    assert sharding.make_mesh(Mesh(*sizes)) == expected


class Chip(NamedTuple):
    """As much of a TPU as its place in a mesh depends on."""

    slice_index: int
    platform: str = "tpu"


def test_slices_lie_along_data_alone():
    chips = [Chip(slice_index=place // 8) for place in range(16)]
    with pytest.raises(ValueError, match=r"mesh\.data=1: must be a multiple of the 2"):
        sharding.make_mesh(Mesh(1, 16, 1, 1), chips)


TPU_MESHES = """
from jax.experimental import topologies
from mmjax import sharding
from mmjax.config import Mesh

def mesh(sizes, name, **more):
    described = topologies.get_topology_desc(
        platform="tpu", topology_name=name, **more
    )
    return sharding.make_mesh(Mesh(*sizes), described.devices).devices

# 16 of the 8 x 8 chips are two of its columns: neighbours by both axes.
for row in mesh((4, 16, 1, 1), "v6e:8x8").reshape(4, 16):
    for axis, extent in ((0, 8), (1, 2)):
        assert len({chip.coords[axis] for chip in row}) == extent, row
for row in mesh((4, 8, 1, 1), "v5p:2x2x4", num_slices=2).reshape(2, 16):
    assert len({chip.slice_index for chip in row}) == 1, row
"""


@pytest.mark.extra
def test_meshes_take_parts_of_a_torus_and_keep_slices_together():
    if importlib.util.find_spec(compiling.NEEDED) is None:
        pytest.skip("needs libtpu")
    command = [sys.executable, "-c", TPU_MESHES]
    subprocess.run(command, env=compiling.environment([]), cwd=ROOT, check=True)
