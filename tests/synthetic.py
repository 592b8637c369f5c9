"""A tiny model, hand-made batches and compiled steps for tests of the training step."""

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from mmjax import config as config_lib
from mmjax import sharding, step
from mmjax.batch import NO_IMAGE, NO_TEXT, OF_SLOTS, Batch, Share
from mmjax.config import Config
from mmjax.models import vlm

ONE, EIGHT = (1, 1, 1), (2, 2, 2)  # meshes: data, fsdp, tensor
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
            connector=config_lib.Connector(tokens=2, heads=2, remat="none"),
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
            attention="reference",
            loss_chunk=16,
            z_loss=1e-3,
        ),
        data=config_lib.Data(
            row_tokens=16,
            rows_per_batch=8,
            rows_per_pool=2,
            pool_capacity=8,
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
        sources_ZRT=rng.integers(0, len(data.sources), shape, dtype=np.int32),
        pixels_ZChwc=rng.integers(
            0, 256, (groups, slots, side, side, 3), dtype=np.uint8
        ),
        real_ZC=np.zeros((groups, slots), bool),
        texts_ZCW=np.full(
            (groups, slots, config_lib.text_tokens(model)), NO_TEXT, np.int32
        ),
    )
    for z in range(groups):
        for r in range(data.rows_per_pool):
            _fill_row(made, z, r, config, rng)
    return made


def _fill_row(made: Batch, z: int, r: int, config: Config, rng) -> None:
    """Places documents until one doesn't fit; what remains is padding."""
    crop_positions = config_lib.crop_positions(config.model)
    start, segment = 0, 0
    while True:
        with_image = rng.random() < 0.6 and not made.real_ZC[z].all()
        words = rng.integers(
            FIRST_WORD, config.model.decoder.vocab_size, rng.integers(1, 6)
        )
        pictures = [IMAGE] * crop_positions if with_image else []
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
            made.images_ZRT[z, r, first : first + crop_positions] = (
                slot * crop_positions + np.arange(crop_positions)
            )
        start = stop


def mesh(shape: tuple[int, ...]) -> Any:
    """The mesh of these sizes of `config.Mesh`, over the first devices."""
    devices = jax.devices()[: int(np.prod(shape))]
    return sharding.make_mesh(config_lib.Mesh(*shape), devices)


def part_of(whole: Batch, held: Share) -> Batch:
    """The box of a host batch that a process holds."""
    groups, rows, slots = (slice(*edges) for edges in held)
    return Batch(
        *(
            array[groups, slots if name in OF_SLOTS else rows]
            for name, array in zip(Batch._fields, whole, strict=True)
        )
    )


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Within it, steps that run for milliseconds aren't optimized for seconds."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


class Run(NamedTuple):
    """A config, where it runs, and its compiled train step."""

    config: Config
    mesh: Any
    model: vlm.Model
    train_step: Any

    def state(self) -> step.State:
        """The state before the first step, a fresh copy each time."""
        shardings = jax.tree.map(
            lambda x: x.sharding,
            step.abstract_state(self.model, self.config, self.mesh),
        )
        return jax.device_put(_first_state(self.config.optim.moments_dtype), shardings)

    def batches(self, start: int, stop: int) -> list[Batch]:
        """Batches on the devices; a step's batch is the same on every mesh."""
        shardings = sharding.batch_shardings(self.mesh)
        return [
            jax.device_put(batch(self.config, seed=step), shardings)
            for step in range(start, stop)
        ]

    def train(
        self, state: step.State, start: int, stop: int
    ) -> tuple[step.State, list[dict[str, np.ndarray]]]:
        """The state after steps [start, stop), and the metrics of each."""
        history = []
        for made in self.batches(start, stop):
            state, metrics = self.train_step(state, made)
            history.append(jax.device_get(metrics))
        return state, history


@functools.cache
def run(shape: tuple[int, ...] = ONE, **optim) -> Run:
    """The compiled run, shared by the tests of a session."""
    made = config(**optim)
    compiled = lower(made, shape).compile()
    return Run(made, mesh(shape), vlm.build(made.model), compiled)


def lower(made: Config, shape: tuple[int, ...] = ONE) -> Any:
    """The lowered train step of a config."""
    model, where = vlm.build(made.model), mesh(shape)
    return step.make_train_step(model, made, where).lower(
        step.abstract_state(model, made, where),
        sharding.batch_shapes(made, made.data.pool_capacity),
    )


@functools.cache
def _first_state(moments_dtype: str) -> step.State:
    made = config(moments_dtype=moments_dtype)
    where, key = mesh(ONE), jax.random.key(0)
    return jax.device_get(step.init_state(vlm.build(made.model), made, where, key))


def losses(history: list[dict[str, np.ndarray]]) -> list[float]:
    """Mean loss of each step."""
    return [
        float(m["loss_sum_by_source"].sum() / m["loss_tokens_by_source"].sum())
        for m in history
    ]


def collectives(text: str) -> list[tuple[str, str, int]]:
    """(operation, shape, numbers) of each array that a collective of an HLO makes."""
    kinds = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
    found = []
    for line in text.splitlines():
        match = re.search(rf"= (.*?) ({kinds})(-start)?\(", line)
        if match:
            for shape in re.findall(r"\w+\[([\d,]*)\]", match[1]):
                sizes = [int(size) for size in shape.split(",") if size]
                found.append((match[2], shape, int(np.prod(sizes))))
    return found
