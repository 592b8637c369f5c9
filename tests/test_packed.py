"""A document packed beside others gives the logits that it gives alone.

Whatever the connector, the crops of an image and the options of the encoder are. Packed
documents go the way of a run's, from shards through index and rows; those alone the way
of a prompt. By default every way of seeing an image meets every connector and every
kind of encoder; all combinations are slow.
"""

import functools
import io
import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from data_pipelines import (
    index,
    materialize,
    pipeline,
    shard_reader,
    shards,
    stream,
    tokenizer,
)
from data_pipelines.buffers import Recycler
from data_pipelines.mixed import PlannedRow
from data_pipelines.records import Document, Image, Segment, Text
from data_pipelines.windows import Chunk, Row
from mmjax import batch as batch_lib
from mmjax import config as config_lib
from mmjax import connector_rules, validation
from mmjax.batch import Batch, Share
from mmjax.config import Preprocessing, SecondViT, ViT
from mmjax.models import vlm

TOLERANCE = 2e-5  # of the largest logit, in float32
TOKENS, SLOTS = 128, 28  # of a row, of a group
SIDE = 16  # pixels of a crop: 2 x 2 patches

# Image tokens of a crop.
CONNECTORS = {
    "average_pool": 4,
    "c_abstractor": 4,
    "linear": 4,
    "mlp": 4,
    "pixel_shuffle": 1,
    "perceiver": 3,
    "qformer": 3,
    "token_concat": 2,
}
SEEN = {
    "warp": Preprocessing(),
    "crop": Preprocessing("crop"),
    "letterbox": Preprocessing("letterbox"),
    "mm1": Preprocessing(tiling="mm1"),
    "anyres": Preprocessing(tiling="anyres"),
    "anyres unpadded": Preprocessing(tiling="anyres", unpad=True),
    "anyres of LLaVA-NeXT": Preprocessing(tiling="anyres", unpad=True, newline=True),
}
SMALL: dict[str, Any] = {
    "image_size": SIDE, "patch_size": 8, "width": 8, "layers": 2, "heads": 2,
    "mlp_width": 16, "remat": "none",
}  # fmt: skip
ENCODERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class token": {"class_token": True},
    "registers": {"class_token": True, "registers": 2},
    "earlier layer": {"features": -2},
    "two encoders": {},
}
DOCUMENTS = (  # of texts and sides of images; stored in another order
    ("a red ball ", (40, 9), "lies near"),
    ("no image here",),
    ((9, 40), (31, 30), "two in a row"),
    ("first", (16, 16), "then", (3, 60)),
    ("a cube",),
)
ROWS = ((0, 1, 2), (3, 4))  # records that are packed together


pytestmark = pytest.mark.usefixtures("quick_compilation")


class World(NamedTuple):
    """A prepared corpus, and its documents in the order of their records."""

    root: pathlib.Path
    documents: list[tuple[Segment, ...]]
    words: tokenizer.Tokenizer


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    documents = [
        [
            Text(part) if isinstance(part, str) else _image(rng, *part)
            for part in document
        ]
        for document in DOCUMENTS
    ]
    texts = [part for d in DOCUMENTS for part in d if isinstance(part, str)]
    words = tokenizer.train(texts * 20, root / "tokenizer.model", 300)
    folder = root / "documents" / "train"
    shards.write(folder, [Document(tuple(d)) for d in documents], 1)
    index.build(folder, words)
    reader = shard_reader.ShardReader(folder)
    stored = [reader.document(number).segments for number in range(len(documents))]
    return World(root, stored, words)


def _image(rng: np.random.Generator, width: int, height: int) -> Image:
    file = io.BytesIO()
    pixels_hwc = rng.integers(0, 256, (height, width, 3), np.uint8)
    PIL.Image.fromarray(pixels_hwc).save(file, "PNG")
    return Image(file.getvalue(), width, height)


def tiny(words: int, connector: str, seen: str, encoder: str) -> config_lib.Model:
    """A model of these choices, for a vocabulary of so many words."""
    vit = ViT(**(SMALL | ENCODERS[encoder]))
    made = config_lib.Model(
        vit=vit,
        connector=config_lib.Connector(
            connector, CONNECTORS[connector], heads=2,
            c_abstractor=config_lib.CAbstractor(width=8, depth=1),
            qformer=config_lib.QFormer(
                width=8, layers=2, heads=2, mlp_width=12, cross_every=2
            ),
        ),
        decoder=config_lib.Decoder(
            vocab_size=words, width=16, layers=2, heads=2, kv_heads=1,
            head_size=8, mlp_width=24, remat="none",
        ),
        preprocessing=SEEN[seen],
        dtype="float32",
        attention="reference",
    )  # fmt: skip
    if encoder == "two encoders":
        other = SMALL | {"image_size": 24, "patch_size": 12, "width": 12, "heads": 3}
        made.second_vit = SecondViT(**other, class_token=True, enabled=True)
    return made


def config(world: World, *choice: str) -> config_lib.Config:
    """The tiny model of a choice, and how its data is read."""
    data = config_lib.Data(
        root=str(world.root), sources=(config_lib.Source("documents"),),
        row_tokens=TOKENS, rows_per_batch=len(ROWS), rows_per_pool=len(ROWS),
        pool_multiple=SLOTS,
    )  # fmt: skip
    run = config_lib.Config(
        steps=1,
        model=tiny(world.words.vocab_size, *choice),
        data=data,
        mixture=config_lib.Mixture(weights=(1,)),
        optim=config_lib.Optim(warmup_steps=1),
    )
    run.model.loss_chunk = TOKENS
    validation.validate(run)
    return run


def packed(made: config_lib.Config) -> Batch:
    """The documents in their rows, as a run lays them."""
    opened = pipeline.open(made)
    columns = opened._corpus(0).documents
    planned = []
    for row in ROWS:
        of_rows = [slice(*columns.segment_start[d : d + 2]) for d in row]
        lengths = [int(columns.segment_tokens[s].sum()) + 1 for s in of_rows]
        slots = sum(int(columns.segment_slots[s].sum()) for s in of_rows)
        chunks = tuple(Chunk(d, 0, n) for d, n in zip(row, lengths))
        planned.append(PlannedRow(0, Row(chunks, sum(lengths), slots)))
    assert sum(row.row.slots for row in planned) <= SLOTS
    shape = opened._materials.shape._replace(capacity=SLOTS)
    batch = stream.empty(
        1, shape, opened.tokenizer.pad, len(ROWS), SLOTS, Recycler()
    )  # fmt: skip
    share = Share((0, 1), (0, len(ROWS)), (0, SLOTS))
    assert not materialize.assemble(opened._materials, planned, share, batch)
    return batch


def alone(made: config_lib.Config, world: World, document: int) -> Batch:
    """One document as a prompt, in a batch of the same shape without others."""
    segments = [world.documents[document]]
    batch = materialize.documents_batch(made, world.words, segments, complete=True)
    return batch_lib.padded(batch, 1, len(ROWS), SLOTS)


class Built(NamedTuple):
    """Parameters in which nothing is zero or one by chance, and the logits of rows."""

    params: Any
    logits: Any


@functools.cache
def built(words: int, connector: str, newline: bool, encoder: str) -> Built:
    """A model, shared by those that differ in nothing but how they see images."""
    seen = "anyres of LLaVA-NeXT" if newline else "warp"
    model = vlm.build(tiny(words, connector, seen, encoder))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype),
        jax.eval_shape(model.init, jax.random.key(0)),
    )

    def logits(params: Any, batch: Batch) -> jax.Array:
        outputs = model.apply(params, batch)
        return outputs.hidden_ZRTD @ outputs.unembed_DV

    return Built(params, jax.jit(logits))


def allowed(connector: str, seen: str) -> bool:
    mapped = SEEN[seen].unpad or SEEN[seen].newline
    return connector in connector_rules.SQUARES or not mapped


CHOICES = [
    choice
    for choice in itertools.product(CONNECTORS, SEEN, ENCODERS)
    if allowed(*choice[:2])
]


# Each connector with one kind of encoder: so every way of seeing meets every connector
# and every encoder that it can. Each other pair of those two is one more compilation.
OWN = dict(zip(CONNECTORS, itertools.cycle(ENCODERS)))
FEW = [choice for choice in CHOICES if choice[2] == OWN[choice[0]]]
assert {c[1:] for c in FEW} == set(itertools.product(SEEN, ENCODERS))


def assert_same_alone_as_packed(world, connector, seen, encoder) -> None:
    made = config(world, connector, seen, encoder)
    words = world.words.vocab_size
    model = built(words, connector, SEEN[seen].newline, encoder)
    batch = packed(made)
    together = np.asarray(model.logits(model.params, batch))[0]
    scale = np.abs(together).max()
    for r, row in enumerate(ROWS):
        for segment, document in enumerate(row, 1):
            one = alone(made, world, document)
            used = one.segments_ZRT[0, 0] == 1
            single = np.asarray(model.logits(model.params, one))[0, 0][used]
            here = batch.segments_ZRT[0, r] == segment
            error = np.abs(together[r][here] - single).max() / scale
            assert error < TOLERANCE, (document, error)


@pytest.mark.parametrize("choice", FEW, ids=" | ".join)
def test_each_way_of_seeing_with_each_connector_and_each_encoder(world, choice):
    assert_same_alone_as_packed(world, *choice)


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice", [choice for choice in CHOICES if choice not in FEW], ids=" | ".join
)
def test_every_combination(world, choice):
    assert_same_alone_as_packed(world, *choice)
