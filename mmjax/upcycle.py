"""Upcycling: a plain checkpoint starts a model with experts or cross-attention.

    python -m mmjax.upcycle --config=configs/mm1_3b_moe.py --from=runs/3b --to=start

Every expert of a layer begins as that layer's MLP (arXiv 2212.05055); routers, and the
blocks that attend to images, as those of a fresh model. The gates of a token's experts
sum to 1 and those of the blocks are closed, so the decoder says what the plain one did
until it is trained: `--config.init_from` names the folder to start from.
"""

import copy
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from absl.flags import FlagValues
from jax.sharding import Mesh

from data_pipelines.inspect import command_line
from mmjax import checkpoint, cli, metrics, optim, sharding, validation
from mmjax import config as config_lib
from mmjax.config import Config, Decoder, Model
from mmjax.models import vlm

Leaves = Mapping[str, Any]  # by path


def main(argv: Sequence[str]) -> None:
    """Runs the command line; ValueError for a mistake in it."""
    values = command_line.parse(_define, True, argv[1:])
    if values.help:
        print(__doc__)
        return
    folders = [values[name].value or "" for name in ("from", "to")]
    for name, folder in zip(("from", "to"), folders):
        if not folder:
            raise ValueError(f"--{name} is missing: a folder of checkpoints")
    for line in run(command_line.config(values), *folders):
        print(line, flush=True)


def _define(values: FlagValues) -> None:
    flags.DEFINE_string(
        "from", "", "Dense run or checkpoint, of the config without experts.",
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string("to", "", "Folder to be made.", flag_values=values)


def run(config: Config, source: str, target: str) -> Iterator[str]:
    """Upcycles the checkpoint `source` to `target`, and tells of it.

    Parts that `source` lacks are left to the run. Raises ValueError where the config
    has neither experts nor cross-attention, `source` isn't its model without them (it
    may have the latter), or `target` is there already.
    """
    decoder = config.model.decoder
    if not (decoder.moe.experts or decoder.cross_attention.every):
        raise ValueError(
            "model.decoder.moe.experts=0: must be positive to upcycle, or "
            "model.decoder.cross_attention.every"
        )
    if pathlib.Path(target).exists():
        raise ValueError(f"--to={target}: is there already")
    mesh = sharding.make_mesh(validation.resolve_mesh(config, jax.device_count()))
    stored = checkpoint.look(source).stored
    if not any(path.startswith("decoder/") for path in stored):
        raise ValueError(f"--from={source}: holds no decoder")
    plain = dense_model(config.model, _crossed(stored))
    dense = checkpoint.load_weights(source, abstract(plain, mesh))
    params = upcycled(config.model, dense, mesh, config.seed)
    meta = {"config": config_lib.to_dict(config), "upcycled_from": source}
    checkpoint.save_weights(target, params, meta)
    before, after = (
        metrics.compact(sum(x.size for x in jax.tree.leaves(tree)))
        for tree in (dense, params)
    )
    yield f"{before} parameters became {after}: {target}"


def dense_model(model: Model, crossed: bool = False) -> Model:
    """The same model without experts, and without cross-attention unless `crossed`."""
    dense = copy.deepcopy(model)
    dense.decoder.moe.experts = 0
    if not crossed:
        dense.decoder.cross_attention.every = 0
    return dense


def abstract(model: Model, mesh: Mesh) -> optim.Params:
    """Shapes, dtypes and shardings of a model's parameters."""
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    return sharding.placed(shapes, mesh)


def upcycled(model: Model, dense: optim.Params, mesh: Mesh, seed: int) -> optim.Params:
    """The parameters of `model` from those of `dense_model(model)`, laid out on a mesh.

    Of the parts that `dense` has. What a dense model lacks is made from the seed.
    """
    wanted = {part: x for part, x in abstract(model, mesh).items() if part in dense}
    placed = optim.flatten(jax.tree.map(lambda x: x.sharding, wanted))
    plain = dense_model(model, _crossed(optim.flatten(dense))).decoder

    def make(key: jax.Array, dense: optim.Params) -> Leaves:
        fresh = optim.flatten(vlm.build(model).init(key))
        old = optim.flatten(dense)
        made = {path: x for path, x in old.items() if not path.startswith(STACKS)}
        for stack in config_lib.layer_stacks(model.decoder):
            made |= _stacked(stack, model.decoder, plain, old)
        return made | {path: fresh[path] for path in placed if path not in made}

    made = jax.jit(make, out_shardings=placed)(jax.random.key(seed), dense)
    return optim.unflatten(made)


STACKS = ("decoder/blocks/", "decoder/rest/")


def _crossed(paths: Iterable[str]) -> bool:
    """Whether a checkpoint of these paths has blocks that attend to images."""
    return any(path.startswith(STACKS) and "/cross/" in path for path in paths)


def _stacked(
    stack: config_lib.LayerStack, decoder: Decoder, dense: Decoder, old: Leaves
) -> Leaves:
    """The parameters of one stack of layers, from wherever the dense ones stand."""
    where = {
        layer: (f"decoder/{each.folder}/", place)
        for each in config_lib.layer_stacks(dense)
        for place, layer in enumerate(each.layers)
    }
    first, _ = where[stack.layers[0]]
    sparse, made = config_lib.is_sparse(decoder, stack.place), {}
    for path in (path for path in old if path.startswith(first)):
        name = path.removeprefix(first)
        parts = [old[where[n][0] + name][where[n][1]] for n in stack.layers]
        x = jnp.stack(parts)
        if sparse and name.startswith("mlp/"):
            shape = (x.shape[0], decoder.moe.experts, *x.shape[1:])
            x = jnp.broadcast_to(x[:, None], shape)
            name = name.replace("mlp/", "moe/", 1)
        made[f"decoder/{stack.folder}/{name}"] = x
    return made


if __name__ == "__main__":
    cli.explained(main, sys.argv)
