"""What is told before a run equals what its batches hold, counted one by one."""

import dataclasses

import numpy as np
import pytest

from data_pipelines import pipeline
from data_pipelines.inspect import mixture
from mmjax.config import Config, Mixture, WeightChange


def table(text: str, head: str) -> dict[str, list[str]]:
    """The rows of the table that begins with a word, by their first cell."""
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()
    cells = [line.replace(" %", "%").rsplit(maxsplit=9) for line in lines[1:]]
    return {name: values for name, *values in cells}


def counted(config: Config) -> dict[str, np.ndarray]:
    """Of the delivered arrays: rows, tokens, images and such, by source."""
    opened = pipeline.open(config)
    found = {
        unit: np.zeros(len(config.data.sources), np.int64) for unit in mixture.UNITS
    }
    for number, batch in enumerate(opened.batches(0, config.steps)):
        for z, group in enumerate(opened.plan.rows_of(number)):
            for r, planned in enumerate(group):
                at, source = (z, r), int(batch.sources_ZRT[z, r, 0])
                used = batch.segments_ZRT[at] > 0
                image = batch.images_ZRT[at] >= 0
                begins = (batch.tokens_ZRT[at] == opened.tokenizer.bos).sum()
                slots = int(image.sum()) // config.model.connector.tokens
                found["rows"][source] += 1
                found["positions"][source] += used.sum()
                found["image_tokens"][source] += image.sum()
                found["text_tokens"][source] += (used & ~image).sum() - begins
                found["loss_tokens"][source] += batch.loss_mask_ZRT[at].sum()
                found["documents"][source] += begins
                found["images"][source] += slots
                found["slots"][source] += slots
                assert source == planned.source
    return found


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_the_table_equals_counting_the_batches(world, steps):
    changed = Mixture((45, 45, 10), (WeightChange(3, (1, 1, 4)),))
    config = dataclasses.replace(world.config(), mixture=changed)
    config = mixture.for_steps(config, steps)
    text = mixture.text(config, pipeline.open(config))
    found, names = counted(config), [s.name for s in config.data.sources]
    amounts, shares = table(text, "delivered"), table(text, "share of")
    for place, name in enumerate(names):
        values = [int(value.replace(",", "")) for value in amounts[name][:-1]]
        assert values == [int(found[unit][place]) for unit in mixture.UNITS]
        for unit, share in zip(mixture.UNITS, shares[name]):
            exact = 100 * found[unit][place] / found[unit].sum()
            assert float(share.rstrip("%")) == pytest.approx(exact, abs=0.006)
    assert ("from step 3 on" in text) == (
        steps == 5 or "last step" in text or steps > 3
    )


def test_a_source_that_repeats_too_often_is_a_warning(world):
    config = world.config()
    few = mixture.text(mixture.for_steps(config, 1), pipeline.open(config))
    assert "warning" not in few
    config = mixture.for_steps(config, 500)
    text = mixture.text(config, pipeline.open(config))
    assert "warning: captions: " in text
    epochs = pipeline.open(config).plan.counts(500)["epochs"]
    warned = [line for line in text.splitlines() if line.startswith("warning")]
    assert len(warned) == (epochs > mixture.MOST_EPOCHS).sum()


def test_a_source_without_weight_delivers_nothing(world):
    config = dataclasses.replace(world.config(), mixture=Mixture((1, 0, 1)))
    text = mixture.text(config, pipeline.open(config))
    assert table(text, "delivered")["interleaved"] == ["0"] * 8 + ["0.000"]
