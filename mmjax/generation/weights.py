"""Parameters as generation reads them: layer by layer, in the dtype they are used in.

Training scans over stacks of layers; a loop over tokens would copy each layer out of
its stack for every token.
"""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmjax import config as config_lib
from mmjax import optim, sharding
from mmjax.config import Model


def prepare(model: Model, params: optim.Params, mesh: Mesh | None = None) -> Any:
    """The weights that `models.cached` takes; a copy of `params`, laid out as they are.

    The decoder's kernels and tables get the dtype of the activations, once for all.
    """
    flat = optim.flatten(params)
    alone = mesh is None or mesh.size == 1
    placed: Any = None
    if mesh is not None:
        one = NamedSharding(mesh, PartitionSpec())
        placed = one if alone else _shardings(model, params, mesh)

    def make(flat: dict[str, Any]) -> Any:
        made = _layered(
            model, {path: _cast(model, path, x) for path, x in flat.items()}
        )
        made["unembed_VD"] = (
            made["embedding"]
            if model.decoder.tied_embeddings
            else _cast(model, "decoder/unembed", flat["decoder/unembed"]).T
        )
        return made

    return jax.jit(make, out_shardings=placed)(flat)


def _cast(model: Model, path: str, leaf: Any) -> Any:
    """As the decoder casts it at each use; what it uses as float32 stays.

    Encoder and connector stay as they are: they are used once a prompt.
    """
    name = path.rpartition("/")[2]
    table = name in ("kernel", "embedding", "unembed") and "/router/" not in path
    return leaf.astype(model.dtype) if table and path.startswith("decoder/") else leaf


def _layered(model: Model, flat: dict[str, Any]) -> dict[str, Any]:
    """The tree of weights, of leaves by path of the parameters."""
    of_layers: list[dict[str, Any]] = [{} for _ in range(model.decoder.layers)]
    images, norm = {}, {}
    for path, leaf in flat.items():
        if not path.startswith("decoder/"):
            images[path] = leaf
        elif path.startswith("decoder/norm/"):
            norm[path.removeprefix("decoder/norm/")] = leaf
    for stack in config_lib.layer_stacks(model.decoder):
        folder = f"decoder/{stack.folder}/"
        for path in (path for path in flat if path.startswith(folder)):
            for place, layer in enumerate(stack.layers):
                of_layers[layer][path.removeprefix(folder)] = flat[path][place]
    return {
        "embedding": flat["decoder/embedding"],
        "norm": optim.unflatten(norm),
        "images": optim.unflatten(images),
        "layers": [optim.unflatten(layer) for layer in of_layers],
    }


def _shardings(model: Model, params: optim.Params, mesh: Mesh) -> Any:
    """Where the weights lie: as in training, without the axis of layers."""
    specs = optim.flatten(sharding.param_specs(params, mesh))
    embedding = specs["decoder/embedding"]
    unembed = specs.get("decoder/unembed", PartitionSpec())
    turned = PartitionSpec(*reversed(unembed))
    made = _layered(model, {path: _Stacked(spec) for path, spec in specs.items()})
    made["unembed_VD"] = _Stacked(
        embedding if model.decoder.tied_embeddings else turned
    )
    return jax.tree.map(lambda leaf: NamedSharding(mesh, leaf.spec), made)


class _Stacked:
    """The spec of a leaf; indexed, that of one layer of it."""

    def __init__(self, spec: PartitionSpec):
        self.spec = spec

    def __getitem__(self, place: int) -> "_Stacked":
        return _Stacked(PartitionSpec(*self.spec[1:]))
