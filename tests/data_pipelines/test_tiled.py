"""Images of several crops: whole in a row, exact in number, and alike on every host."""

import itertools

import numpy as np
import pytest
import small_world

from data_pipelines import crops, images, materialize, pipeline, stream
from data_pipelines.buffers import Recycler
from data_pipelines.inspect import rows, rows_page
from data_pipelines.mixed import EMPTY, PlannedRow
from data_pipelines.records import Image, Text
from data_pipelines.windows import Row
from mmjax.batch import NEWLINE, NO_IMAGE, Share
from mmjax.config import Preprocessing
from mmjax.tiling import GRIDS

Q, SIDE = 4, 16
COMBINATIONS = [
    Preprocessing(tiling="mm1"),
    Preprocessing("crop", tiling="anyres"),
    Preprocessing("letterbox", "bicubic", "mm1", ((3, 3),)),
    Preprocessing("warp", "bilinear", "anyres", ((1, 1), (1, 4), (4, 1))),
    Preprocessing("letterbox"),
    Preprocessing(tiling="anyres", unpad=True, newline=True),
    Preprocessing("crop", tiling="anyres", unpad=True, grids=((2, 3), (3, 1), (1, 1))),
]
NAMES = [
    "mm1", "anyres crop", "3 x 3 letterbox", "own grids", "untiled letterbox",
    "unpadded with newlines", "own grids unpadded",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return small_world.make(tmp_path_factory.mktemp("world"))


def config_of(world, preprocessing, **data):
    config = world.config(**data)
    config.model.preprocessing = preprocessing
    config.model.connector.kind = "average_pool"
    return config


@pytest.fixture(params=COMBINATIONS, ids=NAMES)
def config(world, request):
    return config_of(world, request.param)


def grid_by_hand(preprocessing: Preprocessing, image: Image) -> tuple[int, int]:
    """Tiles of an image, by a loop over the grids for one image."""
    if preprocessing.tiling == "none":
        return 0, 0
    found = []
    grids = preprocessing.grids or GRIDS[preprocessing.tiling]
    for number, (down, across) in enumerate(grids):
        scale = min(across * SIDE / image.width, down * SIDE / image.height)
        seen = int(image.width * scale) * int(image.height * scale)
        seen = min(seen, image.width * image.height)
        found.append((-seen, down * across * SIDE**2 - seen, number))
    return grids[min(found)[2]]


def crops_by_hand(preprocessing: Preprocessing, image: Image) -> int:
    """Crops of an image."""
    down, across = grid_by_hand(preprocessing, image)
    return 1 + down * across


def order_by_hand(preprocessing: Preprocessing, image: Image) -> np.ndarray:
    """The token of its crops, or -2, at each position of an image of 2 x 2 a crop."""
    rows, columns = grid_by_hand(preprocessing, image)
    if not preprocessing.unpad:
        return np.arange(Q * (1 + rows * columns))
    tall, wide = 2 * rows, 2 * columns
    top = left = 0
    if image.width / image.height > wide / tall:
        top = (tall - int(round(image.height * (wide / image.width), 7))) // 2
    else:
        left = (wide - int(round(image.width * (tall / image.height), 7))) // 2
    found = [0, 1, 2, 3]
    for y in range(top, tall - top):
        for x in range(left, wide - left):
            crop = 1 + y // 2 * columns + x // 2
            found.append(Q * crop + 2 * (y % 2) + x % 2)
        found += [NEWLINE] * preprocessing.newline
    return np.array(found)


def pixels_of(config, image: Image) -> np.ndarray:
    """The crops of an image."""
    recipe = crops.recipe(config.model)
    grid = crops.grid(recipe, image.width, image.height)
    out_Chwc = np.zeros((crops.count(grid), SIDE, SIDE, 3), np.uint8)
    assert images.decode_crops(image.data, recipe, grid, out_Chwc)
    return out_Chwc


def equal(one, two):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, two))


def places(config, words, segments):
    """Yields (first position, what stands there, image) of each image of a document."""
    position = 1  # after BOS
    for segment in segments:
        if isinstance(segment, Text):
            position += len(words.encode(segment.text))
        else:
            order = order_by_hand(config.model.preprocessing, segment)
            yield position, order, segment
            position += len(order)


def test_an_image_is_never_split_and_stands_where_its_cost_says(world, config):
    opened = pipeline.open(config)
    seen = set()
    for step, batch in enumerate(opened.batches(0, 3)):
        for z, group in enumerate(opened.plan.rows_of(step)):
            slot = 0
            for r, planned in enumerate(group):
                at, expected = 0, np.full(64, NO_IMAGE)
                for chunk in planned.row.chunks:
                    segments = opened.document(planned.source, chunk.document).segments
                    for start, order, image in places(
                        config, world.tokenizer, segments
                    ):
                        length = len(order)
                        if not chunk.start <= start < chunk.stop:
                            assert not chunk.start < start + length <= chunk.stop
                            continue
                        assert start + length <= chunk.stop
                        here = at + start - chunk.start
                        count = crops_by_hand(config.model.preprocessing, image)
                        moved = np.where(order < 0, order, order + slot * Q)
                        expected[here : here + length] = moved
                        found_Chwc = batch.pixels_ZChwc[z, slot : slot + count]
                        np.testing.assert_array_equal(
                            found_Chwc, pixels_of(config, image)
                        )
                        slot += count
                        seen.add(count)
                    at += chunk.stop - chunk.start
                np.testing.assert_array_equal(batch.images_ZRT[z, r], expected)
            slots = np.arange(opened.capacity)
            assert batch.real_ZC[z].tolist() == (slots < slot).tolist()
            assert not batch.pixels_ZChwc[z, slot:].any()
    tiling = config.model.preprocessing.tiling
    assert len(seen) > 1 if tiling == "anyres" else len(seen) == 1


def test_counts_of_the_plan_tell_images_from_their_crops(config):
    opened = pipeline.open(config)
    batches = list(opened.batches(0, 4))
    counts = opened.plan.counts(4)
    assert counts["slots"].sum() == sum(b.real_ZC.sum() for b in batches)
    seen = sum((b.images_ZRT != NO_IMAGE).sum() for b in batches)
    assert counts["image_tokens"].sum() == seen
    if not config.model.preprocessing.unpad:
        assert seen == counts["slots"].sum() * Q
    per_row = [
        opened.image_crops(step, number) for step in range(4) for number in range(8)
    ]
    of_images = [n for row in per_row for chunk in row for n in chunk]
    assert len(of_images) == counts["images"].sum()
    assert sum(of_images) == counts["slots"].sum()


def boxes(capacity: int, hosts: int):
    """The shares of hosts that hold a part of the rows and slots of every group."""
    edges = np.linspace(0, capacity, hosts + 1, dtype=int).tolist()
    size = 4 // hosts
    for host, slots in enumerate(itertools.pairwise(edges)):
        yield Share((0, 2), (host * size, (host + 1) * size), slots)


@pytest.mark.parametrize("hosts", [1, 4])
def test_hosts_and_threads_make_the_same_batches(world, config, hosts):
    """Slots are shared out without regard to images: some lie in two hosts' parts."""
    once = config_of(world, config.model.preprocessing, threads=1, prefetch=1)
    whole = pipeline.open(once)
    reference = list(whole.batches(0, 3))
    for share in boxes(whole.capacity, hosts):
        opened = pipeline.open(config)
        for found, expected in zip(opened.batches(0, 3, share), reference):
            by_row = [a[:, slice(*share.rows)] for a in expected[:7]]
            by_slot = [a[:, slice(*share.slots)] for a in expected[7:]]
            assert equal(found, [*by_row, *by_slot])


def test_worker_processes_do_so_too(world):
    preprocessing = Preprocessing("letterbox", "bicubic", "anyres")
    reference = pipeline.open(config_of(world, preprocessing)).batches(0, 2)
    opened = pipeline.open(config_of(world, preprocessing, workers=1))
    for found, expected in zip(opened.batches(0, 2), reference, strict=True):
        assert equal(found, expected)


def assembled(opened, planned, slots):
    shape = opened._materials.shape
    share = Share((0, 1), (0, len(planned)), (0, slots))
    pad = opened.tokenizer.pad
    out = stream.empty(1, shape, pad, len(planned), slots, Recycler())
    return out, materialize.assemble(opened._materials, planned, share, out)


def test_a_document_gives_the_same_alone_as_packed_with_others(config):
    opened = pipeline.open(config)
    group = opened.plan.group(1, 0)
    packed, _ = assembled(opened, group, opened.capacity)
    slot = checked = 0
    for r, planned in enumerate(group):
        at = 0
        for segment, chunk in enumerate(planned.row.chunks, start=1):
            length = chunk.stop - chunk.start
            corpus = opened._corpus(planned.source)
            used = sum(materialize.image_crops(corpus.documents, chunk))
            row = PlannedRow(planned.source, Row((chunk,), length, used))
            alone, _ = assembled(opened, [row], used)
            here = slice(at, at + length)
            for name in ("tokens_ZRT", "targets_ZRT", "loss_mask_ZRT", "positions_ZRT"):
                one, many = (getattr(batch, name) for batch in (alone, packed))
                np.testing.assert_array_equal(one[0, 0, :length], many[0, r, here])
            assert (packed.segments_ZRT[0, r, here] == segment).all()
            images_T = alone.images_ZRT[0, 0, :length]
            moved_T = np.where(images_T < 0, images_T, images_T + slot * Q)
            np.testing.assert_array_equal(moved_T, packed.images_ZRT[0, r, here])
            np.testing.assert_array_equal(
                alone.pixels_ZChwc[0], packed.pixels_ZChwc[0, slot : slot + used]
            )
            slot, at, checked = slot + used, at + length, checked + bool(used)
    assert checked > 2


def test_a_prompt_shows_what_training_shows(world, config):
    image = next(
        segment
        for document in world.documents["interleaved/train"]
        for segment in document.segments
        if isinstance(segment, Image) and segment.height > 2 * segment.width
    )
    prompt = [[Text("a"), image, Text(" ball")], [image]]
    batch = materialize.documents_batch(config, world.tokenizer, prompt, complete=False)
    count = crops_by_hand(config.model.preprocessing, image)
    pixels = pixels_of(config, image)
    np.testing.assert_array_equal(
        batch.pixels_ZChwc[0, : 2 * count], np.concatenate([pixels] * 2)
    )
    assert batch.real_ZC.sum() == 2 * count
    shown = [row[row != NO_IMAGE] for row in batch.images_ZRT[0]]
    order = order_by_hand(config.model.preprocessing, image)
    assert shown[0].tolist() == order.tolist()
    moved = np.where(order < 0, order, order + count * Q)
    assert shown[1].tolist() == moved.tolist()


class Changed:
    """A reader that changes the images of one document."""

    def __init__(self, reader, number, **fields):
        self.reader, self.number, self.fields = reader, number, fields
        self.place = reader.place

    def document(self, number):
        document = self.reader.document(number)
        if number != self.number:
            return document
        return document._replace(
            segments=tuple(
                s._replace(**self.fields) if isinstance(s, Image) else s
                for s in document.segments
            )
        )


def changed(opened, group, **fields):
    """Materials in which the second document of the first row of captions changed."""
    r = next(i for i, p in enumerate(group) if p.source == 0 and len(p.row.chunks) > 1)
    victim = group[r].row.chunks[1].document
    corpora = list(opened._materials.corpora)
    reader = Changed(corpora[0].reader, victim, **fields)
    corpora[0] = corpora[0]._replace(reader=reader)
    return r, victim, opened._materials._replace(corpora=tuple(corpora))


def test_a_damaged_image_is_grey_in_all_its_crops(world):
    config = config_of(world, COMBINATIONS[0])
    opened = pipeline.open(config)
    group = opened.plan.group(0, 0)
    whole, _ = assembled(opened, group, opened.capacity)
    r, victim, opened._materials = changed(opened, group, data=b"no image")
    batch, faults = assembled(opened, group, opened.capacity)
    assert faults == [(0, victim, "image", r, 2)]
    here = whole.segments_ZRT[0, r] == 2
    shown = whole.images_ZRT[0, r][here]
    slots = np.unique(shown[shown != NO_IMAGE] // Q)
    assert len(slots) == 5
    mask, pixels = whole.loss_mask_ZRT.copy(), whole.pixels_ZChwc.copy()
    mask[0, r][here], pixels[0, slots] = False, images.GREY
    assert equal(batch, whole._replace(loss_mask_ZRT=mask, pixels_ZChwc=pixels))


def test_an_image_of_another_size_than_its_index_says_is_noticed(world):
    config = config_of(world, Preprocessing(tiling="anyres"))
    opened = pipeline.open(config)
    group = opened.plan.group(0, 0)
    r = next(i for i, p in enumerate(group) if p.source == 0 and len(p.row.chunks) > 1)
    (count,) = opened.image_crops(0, r)[1]
    side = 10 if count == 5 else 400  # of 3 crops, or of 5
    _, _, opened._materials = changed(opened, group, width=side, height=side)
    with pytest.raises(ValueError, match="has other segments than in its index"):
        assembled(opened, group, opened.capacity)


def test_an_image_of_as_many_tiles_and_other_margins_is_noticed(world):
    preprocessing = Preprocessing(tiling="anyres", grids=((2, 2),), unpad=True)
    config = config_of(world, preprocessing)
    opened = pipeline.open(config)
    group = opened.plan.group(0, 0)
    _, victim, opened._materials = changed(opened, group, width=1000, height=1)
    assert opened._corpus(0).reader.document(victim).segments
    with pytest.raises(ValueError, match="has other segments than in its index"):
        assembled(opened, group, opened.capacity)


def test_only_what_changes_an_images_cost_changes_the_plan(world):
    digests = [
        pipeline.open(config_of(world, preprocessing)).digest
        for preprocessing in (
            Preprocessing(), Preprocessing("crop", "bicubic"),
            Preprocessing(tiling="mm1"), Preprocessing("letterbox", tiling="mm1"),
            Preprocessing(tiling="anyres"),
            Preprocessing(tiling="anyres", unpad=True),
            Preprocessing("crop", tiling="anyres", unpad=True),
            Preprocessing(tiling="anyres", newline=True),
        )
    ]  # fmt: skip
    assert digests[0] == digests[1]
    assert digests[2] == digests[3]
    assert digests[5] == digests[6]
    assert len(set(digests)) == 5


def test_a_limit_of_images_a_row_counts_crops(world):
    preprocessing = Preprocessing(tiling="mm1")
    config = config_of(world, preprocessing, max_images_per_row=6)
    opened = pipeline.open(config)
    used = [row.row.slots for step in range(6) for row in opened.plan.group(step, 0)]
    assert max(used) == 5
    config = config_of(world, preprocessing, max_images_per_row=4)
    with pytest.raises(ValueError, match="5 slots doesn't fit a row of 64 positions"):
        pipeline.open(config)


def test_the_page_of_rows_shows_every_crop_and_counts_images(world):
    config = config_of(world, Preprocessing(tiling="mm1"))
    opened = pipeline.open(config)
    groups = list(rows.read(config, opened, 0, 8))
    page = rows_page.render("a name", config, groups)
    pictures = [
        entry
        for group in groups
        for row in group.rows
        for chunk in row.chunks
        for entry in chunk.entries
        if isinstance(entry, rows.Picture)
    ]
    assert [p.crop for p in pictures] == [0, 1, 2, 3, 4] * (len(pictures) // 5)
    assert page.count("<img") == len(pictures) == opened.plan.fill(0).images
    assert page.count("crop 5 of 5") == page.count('class="crop"') // 4
    counts = opened.plan.step_counts(0)
    assert sum(row.images for group in groups for row in group.rows) == sum(
        counts["images"]
    )


def test_the_page_shows_the_tiles_of_one_picture_once_each(world):
    preprocessing = Preprocessing(
        tiling="anyres", unpad=True, newline=True, grids=((2, 2), (1, 4))
    )
    config = config_of(world, preprocessing)
    opened = pipeline.open(config)
    groups = list(rows.read(config, opened, 0, 8))
    shown = 0
    for group, batch in zip(groups, opened.batches(0, 1), strict=False):
        for row in group.rows:
            for chunk in row.chunks:
                here = batch.segments_ZRT[0, row.number] == chunk.segment
                image = batch.images_ZRT[0, row.number][here]
                pictures = [e for e in chunk.entries if isinstance(e, rows.Picture)]
                named = sorted(set((image[image >= 0] // Q).tolist()))
                assert [picture.slot for picture in pictures] == named
                for picture in pictures:
                    inside = image[picture.start : picture.stop]
                    assert (image[image >= 0] // Q == picture.slot).sum() == (
                        inside[inside >= 0] // Q == picture.slot
                    ).sum()
                words = [e for e in chunk.entries if isinstance(e, rows.Token)]
                assert len(words) == (image == NO_IMAGE).sum() + 1
                shown += len(pictures)
    assert shown > 10


def test_an_empty_row_shows_nothing(config):
    opened = pipeline.open(config)
    batch, faults = assembled(opened, [PlannedRow(0, EMPTY)] * 4, 4)
    assert not faults
    assert not batch.real_ZC.any()
    assert (batch.images_ZRT == NO_IMAGE).all()
