"""Tiny models of transformers with random weights, and what they compute."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import checkpoint, config, optim
from mmjax.batch import NO_IMAGE, Batch
from mmjax.config import Model
from mmjax.convert import importing
from mmjax.models import decoder, vit, vlm

SIDE, PATCH, WORDS, IMAGE_ID = 8, 4, 64, 63
PATCHES = (SIDE // PATCH) ** 2
VISION = {
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
TEXT = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
}


def made(name: str, settings: Any) -> Any:
    """The model of that class of transformers, its weights far from their defaults."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = getattr(transformers, name)(settings).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape) * 0.3
            about_one = "norm" in path and path.endswith("weight")
            parameter.copy_(noise + (1.0 if about_one else 0.0))
    return model


def settings(name: str, **fields: Any) -> Any:
    """A config of transformers."""
    transformers = pytest.importorskip("transformers")
    return getattr(transformers, name)(**fields)


def saved(model: Any, folder: pathlib.Path, **options: Any) -> pathlib.Path:
    """The folder that transformers writes."""
    model.save_pretrained(folder, **options)
    return folder


def imported(out: pathlib.Path, **request: Any) -> tuple[Model, optim.Params]:
    """The model and the float32 parameters that our import makes."""
    for _ in importing.run(importing.Request(out, **request)):
        pass
    return loaded(out)


def loaded(folder: pathlib.Path) -> tuple[Model, optim.Params]:
    """The parts that a checkpoint holds, as a run loads them."""
    stored, meta = checkpoint.look(str(folder))
    model = config.from_dict({"model": meta["config"]["model"]}).model
    model.dtype, model.attention = "float32", "reference"
    placed = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = {
        path: jax.ShapeDtypeStruct(leaf.shape, np.float32, sharding=placed)
        for path, leaf in stored.items()
    }
    return model, checkpoint.load_weights(str(folder), optim.unflatten(shapes))


def image(count: int = 1, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(1).integers(
        0, 256, (1, count, side, side, 3), dtype=np.uint8
    )


def pixels(images: np.ndarray, encoder: config.ViT) -> Any:
    """Images as transformers takes them."""
    import torch

    scaled = (images[0] / 255 - np.array(encoder.mean)) / np.array(encoder.std)
    return torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)


def features(model: Model, params: optim.Params, images: np.ndarray) -> np.ndarray:
    """What our encoder makes of images, [images, P, E]."""
    apply = jax.jit(vit.ViT(model.vit, "float32").apply)
    return np.asarray(apply({"params": params["vit"]}, jnp.asarray(images)))[0]


def logits(model: Model, params: optim.Params, ids: np.ndarray) -> np.ndarray:
    """The logits of our decoder for one row of text, [T, V]."""
    module = decoder.Decoder(model)

    def apply(params: Any, ids_ZRT: jax.Array) -> jax.Array:
        def run(module: Any) -> jax.Array:
            x_ZRTD, ones = module.embed(ids_ZRT), jnp.ones_like(ids_ZRT)
            places_ZRT = jnp.arange(ids_ZRT.shape[-1])[None, None]
            hidden_ZRTD, _ = module(x_ZRTD, ones, places_ZRT)
            return hidden_ZRTD @ module.unembed_table()

        return module.apply({"params": params}, method=run)

    scores_ZRTV = jax.jit(apply)(params["decoder"], jnp.asarray(ids)[None, None])
    return _capped(model, np.asarray(scores_ZRTV)[0, 0])


def logits_with_images(
    model: Model,
    params: optim.Params,
    ids: np.ndarray,
    images: np.ndarray,
    image_id: int = IMAGE_ID,
) -> np.ndarray:
    """Our logits of one row, [T, V]; images take the places of `image_id`."""
    row = ids.reshape(1, 1, -1).astype(np.int32)
    places = np.full(row.shape, NO_IMAGE, np.int32)
    places[row == image_id] = np.arange((row == image_id).sum())
    batch = Batch(
        tokens_ZRT=row,
        targets_ZRT=row,
        loss_mask_ZRT=row > 0,
        segments_ZRT=np.ones_like(row),
        positions_ZRT=np.arange(row.size, dtype=np.int32).reshape(row.shape),
        images_ZRT=places,
        sources_ZRT=np.zeros_like(row),
        pixels_ZChwc=images,
        real_ZC=np.ones(images.shape[:2], bool),
        texts_ZCW=np.zeros((*images.shape[:2], 0), np.int32),
    )
    outputs = jax.jit(vlm.build(model).apply)(params, batch)
    return _capped(model, np.asarray(outputs.hidden_ZRTD @ outputs.unembed_DV)[0, 0])


def _capped(model: Model, scores: np.ndarray) -> np.ndarray:
    cap = model.decoder.logit_softcap
    return cap * np.tanh(scores / cap) if cap else scores


def error(ours: np.ndarray, theirs: Any) -> float:
    """The largest difference, relative to the largest number of theirs."""
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
