"""A tiny model and hand-made batches for tests of the training step."""

import numpy as np

from mmjax import config as config_lib
from mmjax.batch import NO_IMAGE, Batch
from mmjax.config import Config

BOS, EOS, IMAGE, FIRST_WORD = 1, 2, 3, 4


def config(**optim) -> Config:
    """8 rows of 16 tokens in 4 groups, images of 2 tokens; float32 throughout."""
    return Config(
        steps=8,
        model=config_lib.Model(
            vit=config_lib.ViT(
                image_size=8,
                patch_size=4,
                width=16,
                layers=2,
                heads=2,
                mlp_width=32,
                remat="none",
            ),
            connector=config_lib.Connector(tokens=2, heads=2),
            decoder=config_lib.Decoder(
                vocab_size=32,
                width=32,
                layers=2,
                heads=4,
                kv_heads=2,
                head_size=8,
                mlp_width=64,
                remat="none",
            ),
            dtype="float32",
            attention_block=8,
            loss_chunk=8,
            z_loss=1e-3,
        ),
        data=config_lib.Data(
            row_tokens=16,
            rows_per_batch=8,
            rows_per_pool=2,
            pool_capacity=4,
            pool_multiple=4,
        ),
        optim=config_lib.Optim(**{"peak_lr": 1e-2, "warmup_steps": 2, **optim}),
        mesh=config_lib.Mesh(2, 2, 2),
    )


def batch(config: Config, seed: int) -> Batch:
    """Rows of several documents, some with images, some without any loss token."""
    data, model = config.data, config.model
    rng = np.random.default_rng(seed)
    groups, slots = data.rows_per_batch // data.rows_per_pool, data.pool_capacity
    shape = (groups, data.rows_per_pool, data.row_tokens)
    zeros = np.zeros(shape, np.int32)
    side = model.vit.image_size
    made = Batch(
        tokens_ZRT=zeros.copy(),
        targets_ZRT=zeros.copy(),
        loss_mask_ZRT=np.zeros(shape, bool),
        segments_ZRT=zeros.copy(),
        positions_ZRT=zeros.copy(),
        images_ZRT=zeros + NO_IMAGE,
        sources_ZR=rng.integers(0, len(data.sources), shape[:2], dtype=np.int32),
        pixels_ZChwc=rng.integers(
            0, 256, (groups, slots, side, side, 3), dtype=np.uint8
        ),
        real_ZC=np.zeros((groups, slots), bool),
    )
    for z in range(groups):
        for r in range(data.rows_per_pool):
            _fill_row(made, z, r, config, rng)
    return made


def _fill_row(made: Batch, z: int, r: int, config: Config, rng) -> None:
    """Places documents until one doesn't fit; what remains is padding."""
    image_tokens = config.model.connector.tokens
    start, segment = 0, 0
    while True:
        with_image = rng.random() < 0.6 and not made.real_ZC[z].all()
        words = rng.integers(
            FIRST_WORD, config.model.decoder.vocab_size, rng.integers(1, 6)
        )
        pictures = [IMAGE] * image_tokens if with_image else []
        stream = [BOS, *pictures, *words, EOS]
        stop = start + len(stream) - 1
        if stop > config.data.row_tokens:
            return
        segment += 1
        here = (z, r, slice(start, stop))
        made.tokens_ZRT[here] = stream[:-1]
        made.targets_ZRT[here] = stream[1:]
        made.loss_mask_ZRT[here] = np.array(stream[1:]) != IMAGE
        made.loss_mask_ZRT[here] &= rng.random() < 0.8  # else a document without loss
        made.segments_ZRT[here] = segment
        made.positions_ZRT[here] = np.arange(stop - start)
        if with_image:
            slot = int(made.real_ZC[z].sum())
            made.real_ZC[z, slot] = True
            first = start + 1
            made.images_ZRT[z, r, first : first + image_tokens] = (
                slot * image_tokens + np.arange(image_tokens)
            )
        start = stop
