"""A tiny model that answers: of random weights, with a tokenizer of its own."""

import io
import pathlib
from typing import Any

import jax
import model_samples
import numpy as np
import PIL.Image
import synthetic

from data_pipelines import tokenizer
from data_pipelines.records import Image, Text
from mmjax import answering, config
from mmjax.answering import Answerer

WORDS = (
    "a", "red", "ball", "lies", "near", "the", "blue", "cube", "and", "a", "small",
    "dog", "sees", "it",
)  # fmt: skip


def make_config(folder: pathlib.Path, **decoder: Any) -> config.Config:
    """Rows of 64 tokens, images of 2; the tokenizer is made in `folder`."""
    path = folder / "tokenizer.model"
    if not path.exists():
        rng = np.random.default_rng(0)
        texts = [" ".join(rng.choice(WORDS, 8)) for _ in range(200)]
        tokenizer.train(texts, path, 320)
    model = model_samples.model()
    model.decoder.vocab_size = tokenizer.open(path).vocab_size
    for name, value in decoder.items():
        setattr(model.decoder, name, value)
    data = config.Data(
        root=str(folder), row_tokens=64, rows_per_batch=8, rows_per_pool=8,
        pool_multiple=4,
    )  # fmt: skip
    return config.Config(
        model=model, data=data, optim=config.Optim(warmup_steps=1),
        mesh=config.Mesh(1, -1, 1),
    )  # fmt: skip


def make(folder: pathlib.Path) -> Answerer:
    """The answerer on one device."""
    made = make_config(folder)
    words = tokenizer.open(folder / "tokenizer.model")
    mesh = synthetic.mesh(synthetic.ONE)
    return answering.ready(made, mesh, words, parameters(made))


def parameters(made: config.Config) -> Any:
    """Weights with which it says many different things."""
    return jax.tree.map(np.asarray, model_samples.parameters(made.model))


def image(seed: int) -> Image:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return Image(file.getvalue(), 20, 24)


def prompts() -> list[tuple]:
    """With images anywhere, of different lengths."""
    return [
        (image(0), Text(" a red")),
        (Text("the dog sees it"),),
        (Text("a "), image(1), Text(" near"), image(2), Text(" blue cube and the")),
        (image(2),),
    ]
