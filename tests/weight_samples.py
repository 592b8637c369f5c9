"""Small models of ours with random weights, as checkpoints."""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import numpy as np

from mmjax import checkpoint, config, optim
from mmjax.config import Connector, Decoder, Model, RopeScaling, ViT
from mmjax.convert import exporting, importing
from mmjax.models import vlm

CLIP = ViT(
    image_size=8,
    patch_size=4,
    width=8,
    layers=3,
    heads=2,
    mlp_width=12,
    class_token=True,
    embedding_norm="tokens",
    patch_bias=False,
    position_resize="torch_bicubic",
    features=-2,
    remat="none",
)
LLAMA = Decoder(
    vocab_size=16,
    width=16,
    layers=3,
    heads=4,
    kv_heads=2,
    head_size=8,
    mlp_width=24,
    remat="none",
)
LLAMA3 = RopeScaling("llama3", 8.0, 32)
GEMMA: dict[str, Any] = {
    "norm_unit_offset": True,
    "scale_embeddings": True,
    "activation": "gelu_tanh",
    "tied_embeddings": True,
}
WINDOWS = {"window": 4, "global_every": 2, "query_scale": 0.25, "post_norms": True}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": {"rope_scaling": LLAMA3},
    "mistral": {"window": 4},
    "qwen2": {"qkv_bias": True, "tied_embeddings": True},
    "qwen3": {"qk_norm": True},
    "gemma": GEMMA,
    "gemma2": {
        **GEMMA,
        **WINDOWS,
        "attention_softcap": 50.0,
        "logit_softcap": 30.0,
    },
    "gemma3_text": {
        **GEMMA,
        **WINDOWS,
        "qk_norm": True,
        "rope_theta": 1e6,
        "local_rope_theta": 1e4,
    },
}


def decoder(kind: str) -> Decoder:
    """A decoder of that family."""
    return dataclasses.replace(LLAMA, **DECODERS[kind])


def llava(**fields: Any) -> Model:
    """What LLaVA can say; `fields` are set on the model."""
    connector = Connector(kind="mlp", tokens=4)
    made = Model(vit=dataclasses.replace(CLIP), connector=connector, dtype="float32")
    made.decoder = dataclasses.replace(LLAMA)
    return dataclasses.replace(made, **fields)


def parameters(model: Model, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Random numbers for every parameter, by path."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(vlm.build(model).init, jax.random.key(0))
    return {
        path: rng.standard_normal(leaf.shape).astype(jax.numpy.dtype(dtype))
        for path, leaf in optim.flatten(shapes).items()
    }


def saved(folder: pathlib.Path, model: Model, dtype: str = "float32") -> str:
    """A checkpoint with random weights, as a run leaves it."""
    params = optim.unflatten(parameters(model, dtype))
    meta = {"config": config.to_dict(config.Config(model=model))}
    checkpoint.save_weights(str(folder), params, meta)
    return str(folder)


def stored(folder: pathlib.Path) -> dict[str, Any]:
    """The parameters of a checkpoint by path, in their own dtype."""
    abstract, _ = checkpoint.look(str(folder))
    placed = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    tree = {
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=placed)
        for path, leaf in abstract.items()
    }
    return optim.flatten(checkpoint.load_weights(str(folder), optim.unflatten(tree)))


def exported(folder: pathlib.Path, source: str, **request: Any) -> pathlib.Path:
    """The folder that export makes of a checkpoint."""
    for _ in exporting.run(exporting.Request(source, folder, **request)):
        pass
    return folder


def imported(folder: pathlib.Path, **request: Any) -> list[str]:
    """What import tells while it makes a folder."""
    return list(importing.run(importing.Request(folder, **request)))


def theirs(folder: pathlib.Path, kind: str = "llama") -> pathlib.Path:
    """A decoder's folder as transformers would leave it, in one file."""
    model = llava(decoder=decoder(kind))
    checkpoint_folder = folder.with_name(folder.name + ".ours")
    source = saved(checkpoint_folder, model)
    return exported(folder, source, decoder_only=True, family=kind)


def edit_settings(folder: pathlib.Path, **values: Any) -> None:
    """Changes entries of a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
