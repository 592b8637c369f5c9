"""Rows of models that attend to images: an image is one position wherever it counts."""

import numpy as np
import plan_samples
import pytest

from data_pipelines import materialize, pipeline, plan, sights
from data_pipelines.inspect import rows
from data_pipelines.inspect.rows import Picture
from data_pipelines.records import Image, Text
from data_pipelines.windows import Chunk
from mmjax import config as config_lib
from mmjax.batch import NO_IMAGE

Q = 4


def config_of(world, images="last", row_images=0, tiling="none", **data):
    config = world.config(**data)
    config.model.preprocessing.tiling = tiling
    config.model.decoder.cross_attention = config_lib.CrossAttention(
        every=1, images=images, row_images=row_images
    )
    return config


@pytest.fixture(params=[("last", "none"), ("all_before", "anyres")])
def config(world, request):
    images, tiling = request.param
    return config_of(world, images, row_images=8, tiling=tiling)


def marks(batch):
    """(z, row, position, slot) of every image position, in order."""
    places = np.argwhere(batch.images_ZRT != NO_IMAGE)
    return [(*p.tolist(), int(batch.images_ZRT[tuple(p)])) for p in places]


def test_every_slot_has_one_mark_in_the_order_of_slots(world, config):
    opened = pipeline.open(config)
    spliced = world.config()
    spliced.model.preprocessing.tiling = config.model.preprocessing.tiling
    pictures = 0
    for batch in opened.batches(0, 4):
        found = marks(batch)
        for z in range(len(batch.real_ZC)):
            slots = [slot for group, _, _, slot in found if group == z]
            assert slots == list(range(int(batch.real_ZC[z].sum())))
        at = batch.images_ZRT != NO_IMAGE
        assert (batch.tokens_ZRT[at] == world.tokenizer.image).all()
        assert not batch.loss_mask_ZRT[batch.targets_ZRT == world.tokenizer.image].any()
        assert at.sum(-1).max() <= 8
        pictures += len(found)
    assert pictures > 40
    assert plan.layout(config).max_images == 8
    cost, before = (
        config_lib.image_cost(c.model, np.array([30]), np.array([20]))
        for c in (config, spliced)
    )
    assert (cost.slots == before.slots).all()
    assert (cost.positions == cost.slots).all()
    assert (before.positions == Q * before.slots).all()


def test_what_a_batch_s_positions_see_is_counted_before_it_is_made(config):
    seen = config.model.decoder.cross_attention.images
    opened = pipeline.open(config)
    for step, batch in enumerate(opened.batches(0, 4)):
        pairs = 0
        for z, r in np.ndindex(batch.tokens_ZRT.shape[:2]):
            segments, images = batch.segments_ZRT[z, r], batch.images_ZRT[z, r]
            for t, segment in enumerate(segments.tolist()):
                own = (images[: t + 1] != NO_IMAGE) & (segments[: t + 1] == segment)
                pairs += int(own.any() if seen == "last" else own.sum())
        assert pairs > 100
        assert opened.sights(step, seen) == pairs


def test_a_part_of_a_split_document_sees_its_own_images_alone():
    # BOS, an image of 3 crops, 4 words, an image, 2 words.
    document = [(True, 3, 3, False), (False, 4, 0, True), (True, 1, 1, False),
                (False, 2, 0, True)]  # fmt: skip
    documents = plan_samples.columns([document])
    counts = {
        seen: [
            sights.count(documents, Chunk(0, *part), seen)
            for part in ((0, 11), (4, 11), (0, 6), (9, 11))
        ]
        for seen in config_lib.SEEN_IMAGES
    }
    assert counts["last"] == [10, 3, 5, 0]
    assert counts["all_before"] == [10 + 9 + 8 + 3, 3, 5 + 4 + 3, 0]


def test_the_page_of_rows_shows_the_images_of_the_batches(world):
    config = config_of(world)
    opened = pipeline.open(config)
    shown = [row for group in rows.read(config, opened, 0, 8) for row in group.rows]
    pictures = [e for row in shown for c in row.chunks for e in c.entries
                if isinstance(e, Picture)]  # fmt: skip
    (batch,) = opened.batches(0, 1)
    assert [picture.slot for picture in pictures] == [slot for *_, slot in marks(batch)]
    assert all(picture.stop - picture.start == 1 for picture in pictures)


def test_documents_of_prompts_fit_what_rows_are_laid_out_for(world):
    picture = world.documents["captions/train"][0].segments[0]
    assert isinstance(picture, Image)
    document = (picture, Text("a ball"), picture)
    for row_images in 0, 2:
        config = config_of(world, row_images=row_images)
        batch = materialize.documents_batch(config, world.tokenizer, [document], True)
        assert [slot for *_, slot in marks(batch)] == [0, 1]
    config = config_of(world, row_images=1)
    reason = "document 0: 2 slots of images, a row attends to 1"
    with pytest.raises(ValueError, match=reason):
        materialize.documents_batch(config, world.tokenizer, [document], True)


def test_choices_of_the_config_are_what_exists():
    assert sorted(sights.SEEN) == sorted(config_lib.SEEN_IMAGES)
