"""The pipeline: batches are a function of their number; what is wrong is named."""

import itertools
import logging
import shutil

import numpy as np
import pytest
import small_world

from data_pipelines import images, index, pipeline, shards, tokenizer
from data_pipelines.records import Image, Text
from mmjax.batch import Share
from mmjax.config import Mixture, Source, WeightChange


@pytest.fixture
def copy(world, tmp_path):
    """A corpus to damage."""
    return world._replace(root=str(shutil.copytree(world.root, tmp_path / "copy")))


@pytest.mark.parametrize(
    "reading",
    [
        {"threads": 2},
        {"threads": 4, "prefetch": 9},
        {"workers": 2},
        pytest.param({"workers": 1}, marks=pytest.mark.slow),
        pytest.param({"workers": 4}, marks=pytest.mark.slow),
    ],
)
def test_threads_and_workers_change_no_byte(world, reference, reading):
    opened = pipeline.open(world.config(**reading))
    found = list(opened.batches(1, 4))
    assert len(found) == 3
    assert all(map(small_world.equal, found, reference[1:4]))


@pytest.mark.parametrize(
    "boxes",
    [
        [((0, 1), (0, 4), None), ((1, 2), (0, 4), None)],
        [((z, z + 1), (r, r + 2), r // 2) for z in (0, 1) for r in (0, 2)],
        [((0, 2), (r, r + 1), r // 2) for r in range(4)],
    ],
    ids=["2 hosts by group", "4 hosts by half groups", "4 hosts by row"],
)
def test_shares_of_hosts_glue_to_the_global_batch(world, reference, boxes):
    opened = pipeline.open(world.config())
    half = opened.capacity // 2
    for groups, rows, part in boxes:
        slots = (
            (0, opened.capacity) if part is None else (part * half, (part + 1) * half)
        )
        share = Share(groups, rows, slots)
        (found,) = opened.batches(2, 3, share)
        box = [a[slice(*groups), slice(*rows)] for a in reference[2][:7]]
        box += [a[slice(*groups), slice(*slots)] for a in reference[2][7:]]
        assert small_world.equal(found, box)


def test_batches_of_a_new_pipeline_go_on_anywhere(world, reference):
    for start in (1, 4, 5):
        opened = pipeline.open(world.config())
        assert all(map(small_world.equal, opened.batches(start, 6), reference[start:]))


def test_what_is_delivered_is_what_is_planned(world, reference):
    opened = pipeline.open(world.config())
    for step, batch in enumerate(reference):
        counts = opened.plan.step_counts(step)
        for source in range(3):
            own = batch.sources_ZRT == source
            assert own[..., 0].sum() == counts["rows"][source]
            assert batch.loss_mask_ZRT[own].sum() == counts["loss_tokens"][source]
            assert (batch.segments_ZRT[own] > 0).sum() == counts["positions"][source]
            assert (batch.images_ZRT[own] >= 0).sum() == counts["image_tokens"][source]
        assert batch.real_ZC.sum() == opened.plan.fill(step).images
        places = opened.documents_of(step)
        for z, r in itertools.product(range(2), range(4)):
            assert len(places[z][r]) == batch.segments_ZRT[z, r].max()
            for number, (source, document) in enumerate(places[z][r], start=1):
                assert source == batch.sources_ZRT[z, r, 0]
                here = batch.segments_ZRT[z, r] == number
                words = world.tokenizer
                texts = opened.document(source, document).segments
                whole = "".join(s.text for s in texts if isinstance(s, Text))
                assert words.decode(batch.tokens_ZRT[z, r][here]) in whole


def test_a_held_out_pass_delivers_every_document_once(world):
    config = world.config()
    folders = ["captions/heldout", "text/heldout"]
    opened = pipeline.open_heldout(config, folders, rows=0)
    assert opened.names == tuple(folders)
    seen, texts = [], []
    for step, batch in enumerate(opened.batches(0, opened.steps)):
        assert batch.tokens_ZRT.shape == (2, 4, 64)
        chunks = itertools.chain(*itertools.chain(*opened.documents_of(step)))
        seen += chunks
        texts.append(batch.loss_mask_ZRT.sum())
    assert set(seen) == {(s, n) for s, k in ((0, 40), (1, 12)) for n in range(k)}
    expected = sum(
        len(world.tokenizer.encode(segment.text)) * segment.loss
        for folder in folders
        for document in world.documents[folder]
        for segment in document.segments
        if isinstance(segment, Text)
    )
    assert sum(texts) == expected + 40 + 12  # and their ends
    kinds = [opened.kind(0, number) for number in range(40)]
    assert kinds.count("short") == kinds.count("long") == 20
    assert opened.kind(1, 0) == ""


def test_a_held_out_pass_can_be_limited(world):
    opened = pipeline.open_heldout(world.config(), ["captions/heldout"], rows=3)
    batches = list(opened.batches(0, opened.steps))
    rows = sum(int((b.segments_ZRT.max(-1) > 0).sum()) for b in batches)
    assert (len(batches), rows) == (1, 3)


def test_a_source_without_weight_need_not_exist(world):
    config = world.config(sources=(Source("captions"), Source("x"), Source("text")))
    config.mixture = Mixture(weights=(1, 0, 1))
    opened = pipeline.open(config)
    (batch,) = opened.batches(0, 1)
    assert set(np.unique(batch.sources_ZRT)) == {0, 2}
    with pytest.raises(ValueError, match="source 1 has no weight"):
        opened.document(1, 0)
    config.mixture.schedule = (WeightChange(5, (1, 1, 1)),)
    with pytest.raises(ValueError, match=r"x/train: no such folder"):
        pipeline.open(config)


def test_what_is_missing_or_does_not_match_is_one_line(world, copy, tmp_path):
    other = tmp_path / "other.model"
    tokenizer.train(["other words"], other, 300)
    (tmp_path / "copy" / "text" / "train" / "manifest.json").unlink()
    small = world.config()
    small.model.decoder.vocab_size = 100
    for config, message in (
        (world.config(root=""), "data.root='': no such folder"),
        (world.config(root="/nowhere"), "data.root='/nowhere': no such folder"),
        (world.config(root=str(tmp_path)), r"tokenizer.*tokenizer.model: No such file"),
        (world.config(tokenizer=str(other)), r"other.model doesn't match the shards"),
        (copy.config(), r"text/train: no manifest.json"),
        (small, r"vocab_size=100: tokenizer .* has 2\d\d ids"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            pipeline.open(config)
        assert "\n" not in str(error.value)


def test_a_truncated_shard_is_one_line_at_the_start(copy, tmp_path):
    path, *_ = (tmp_path / "copy" / "captions" / "train").glob("*.array_record")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"{path.name}: 1000 bytes.*truncated") as e:
        pipeline.open(copy.config())
    assert "\n" not in str(e.value)


def damage(folder):
    """Changes a byte of each document's text in the folder's shards."""
    for path in folder.glob("*.array_record"):
        data = bytearray(path.read_bytes())
        place = data.find(b"\xff\xd8\xff")  # a JPEG begins
        while place >= 0:
            data[place + 40] ^= 255
            place = data.find(b"\xff\xd8\xff", place + 1)
        path.write_bytes(data)


@pytest.mark.parametrize(
    "reading",
    [{"threads": 2}, pytest.param({"workers": 1}, marks=pytest.mark.slow)],
)
def test_a_corrupt_shard_stops_the_run_with_shard_and_record(copy, tmp_path, reading):
    damage(tmp_path / "copy" / "captions" / "train")
    opened = pipeline.open(copy.config(**reading))
    with pytest.raises(ValueError, match=r"shard-0000\d.*record \d+ is corrupt"):
        list(opened.batches(0, 6))


def test_damaged_images_are_counted_and_logged_once(world, tmp_path, caplog):
    documents = list(world.documents["captions/train"])
    for i in range(0, len(documents), 8):
        image, text = documents[i].segments
        cut = Image(image.data[: len(image.data) // 2], image.width, image.height)
        documents[i] = documents[i]._replace(segments=(cut, text))
    broken = {(segments[0].data) for segments, *_ in documents[::8]}
    shards.write(tmp_path / "captions" / "train", documents, 3)
    index.build(tmp_path / "captions" / "train", world.tokenizer)
    shutil.copy(world.root + "/tokenizer.model", tmp_path)
    sources = (Source("captions"),)
    config = world.config(root=str(tmp_path), sources=sources, max_bad_share=1.0)
    config.mixture = Mixture(weights=(1,))
    opened = pipeline.open(config)
    masked = 0
    with caplog.at_level(logging.WARNING, "data_pipelines"):
        for step, batch in enumerate(opened.batches(0, 6)):
            for z, group in enumerate(opened.documents_of(step)):
                for r, row in enumerate(group):
                    for number, place in enumerate(row, start=1):
                        here = batch.segments_ZRT[z, r] == number
                        slot = batch.images_ZRT[z, r][here].max() // 4
                        pixels = batch.pixels_ZChwc[z, slot]
                        data = opened.document(*place).segments[0].data
                        bad = data in broken
                        masked += bad
                        assert (pixels == images.GREY).all() == bad
                        assert batch.loss_mask_ZRT[z, r][here].any() == (not bad)
    assert opened.faults == {"captions": {"image": masked}}
    assert masked > len(broken)  # several epochs
    lines = [r.getMessage() for r in caplog.records if "decoded" in r.getMessage()]
    assert len(lines) == len(set(lines)) == len(broken)
    assert all("array_record: record" in line for line in lines)


def test_closing_early_ends_the_reading(world):
    batches = pipeline.open(world.config()).batches(0, 1000)
    next(batches)
    batches.close()
    with pytest.raises(StopIteration):
        next(batches)


def test_mixed_rows_say_the_source_of_every_position(world):
    config = world.config()
    config.mixture = Mixture(weights=(3, 1, 1), unit="document")
    opened = pipeline.open(config)
    (batch,) = opened.batches(0, 1)
    counts = opened.plan.step_counts(0)
    used = batch.segments_ZRT > 0
    for source in range(3):
        own = used & (batch.sources_ZRT == source)
        assert own.sum() == counts["positions"][source]
        assert (batch.loss_mask_ZRT & own).sum() == counts["loss_tokens"][source]
    places = opened.documents_of(0)
    for z, r in itertools.product(range(2), range(4)):
        for number, (source, document) in enumerate(places[z][r], start=1):
            here = batch.segments_ZRT[z, r] == number
            assert set(batch.sources_ZRT[z, r][here]) == {source}
            texts = opened.document(source, document).segments
            whole = "".join(s.text for s in texts if isinstance(s, Text))
            assert world.tokenizer.decode(batch.tokens_ZRT[z, r][here]) in whole
    assert len({source for group in places for row in group for source, _ in row}) > 1
