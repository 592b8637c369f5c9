"""Cross-attention learns: gates open, and what only the image tells is told."""

import math

import jax
import numpy as np
import pytest
import synthetic

from mmjax import config as config_lib
from mmjax import step, validation
from mmjax.batch import NO_IMAGE, Batch
from mmjax.models import vlm

STEPS, DOCUMENTS = 60, 4  # of a row: BOS, an image, the word of its colour
COLOURS = np.array([[230, 20, 20], [20, 230, 20], [20, 20, 230], [230, 230, 20]])


def run() -> config_lib.Config:
    made = synthetic.config()
    made.model.decoder.cross_attention = config_lib.CrossAttention(every=2)
    made.mesh, made.steps = config_lib.Mesh(1, 1, 1), STEPS
    validation.validate(made)
    return made


def captions(made: config_lib.Config, seed: int) -> Batch:
    """Images of one colour each, whose word alone counts."""
    rng, batch = np.random.default_rng(seed), synthetic.batch(made, seed)
    shape = batch.tokens_ZRT.shape
    zero, positions = np.zeros(shape, np.int32), np.arange(3 * DOCUMENTS)
    groups, rows, _ = shape
    colour = rng.integers(0, len(COLOURS), (groups, rows * DOCUMENTS))
    noise = rng.integers(-20, 21, (*colour.shape, *batch.pixels_ZChwc.shape[2:]))
    pixels = np.clip(COLOURS[colour][:, :, None, None] + noise, 0, 255)
    words = synthetic.FIRST_WORD + colour.reshape(groups, rows, DOCUMENTS)
    made_rows = {
        name: zero.copy() for name in ("tokens", "targets", "segments", "positions")
    }
    made_rows["segments"][..., : 3 * DOCUMENTS] = positions // 3 + 1
    made_rows["positions"][..., : 3 * DOCUMENTS] = positions % 3
    mask, images = np.zeros(shape, bool), zero + NO_IMAGE
    for document in range(DOCUMENTS):
        at = 3 * document
        made_rows["tokens"][..., at : at + 2] = synthetic.BOS, synthetic.IMAGE
        made_rows["tokens"][..., at + 2] = words[..., document]
        made_rows["targets"][..., at + 1] = words[..., document]
        mask[..., at + 1] = True
        images[..., at + 1] = np.arange(rows) * DOCUMENTS + document
    return batch._replace(
        **{f"{name}_ZRT": values for name, values in made_rows.items()},
        loss_mask_ZRT=mask,
        images_ZRT=images,
        sources_ZRT=zero,
        pixels_ZChwc=pixels.astype(np.uint8),
        real_ZC=np.ones(colour.shape, bool),
    )


@pytest.mark.slow
def test_the_loss_falls_below_what_text_alone_can_reach_once_gates_are_open():
    made = run()
    model, mesh = vlm.build(made.model), synthetic.mesh(synthetic.ONE)
    with synthetic.quick_compilation():
        train_step = step.make_train_step(model, made, mesh)
        first = jax.device_get(step.init_state(model, made, mesh, jax.random.key(0)))
        found = {}
        for blind in False, True:
            state, losses = first, []
            for number in range(STEPS):
                batch = captions(made, number)
                if blind:
                    batch = batch._replace(pixels_ZChwc=batch.pixels_ZChwc * 0)
                state, metrics = train_step(state, batch)
                counted = metrics["loss_tokens_by_source"].sum()
                assert counted == batch.loss_mask_ZRT.sum()
                losses.append(float(metrics["loss_sum_by_source"].sum() / counted))
            found[blind] = np.mean(losses[-8:])
            if not blind:
                gate = state.params["decoder"]["blocks"]["layer1"]["cross"]
                assert abs(float(gate["attention_gate"][0])) > 0.02
    text_alone = math.log(len(COLOURS))
    assert found[True] > text_alone - 0.05
    assert found[False] < text_alone - 0.5
