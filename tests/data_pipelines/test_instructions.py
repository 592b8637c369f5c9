"""The text beside an image: never a token that is predicted, nor what follows one."""

import itertools

import numpy as np
import pytest
import small_world

from data_pipelines import index, instructions, materialize, pipeline, shards, stream
from data_pipelines.records import Document, Image, Text
from mmjax import config as config_lib
from mmjax.batch import NO_TEXT
from mmjax.config import Source

# Words of texts with and without loss, so that ids tell which a token is from.
TRAINED, FREE = ["a", "red", "small", "ball"], ["blue", "large", "cube", "lies"]


def picture() -> Image:
    return small_world._jpeg(np.random.default_rng(0))


def beside(segments, words, most=99):
    """The texts beside the images, as text."""
    images = [n for n, s in enumerate(segments) if isinstance(s, Image)]
    made = stream.encode(words, segments, [4] * len(images), {})
    found = instructions.beside(segments, made, most)
    assert sorted(found) == images
    return [words.decode(found[n].tolist()) for n in images]


def free(text):
    return Text(text, loss=False)


def test_an_image_has_the_question_that_follows_it_or_else_the_one_before(world):
    words, image = world.tokenizer, picture()
    assert beside([image, free("blue cube"), Text("red")], words) == ["blue cube"]
    assert beside([free("blue cube"), image, Text("red")], words) == ["blue cube"]
    assert beside([image, Text("red"), free("blue cube")], words) == [""]
    assert beside([image, image, free("cube"), Text("a")], words) == ["cube"] * 2
    assert beside([image, image], words) == ["", ""]
    turns = [free("large"), image, free("cube"), Text("red"), image, free("blue")]
    turns += [image, Text("ball"), image, Text("a")]
    assert beside(turns, words) == ["cube", "blue", "blue", ""]


def test_a_long_text_is_cut_where_it_is_farthest_from_the_image(world):
    words, image = world.tokenizer, picture()
    ids = words.encode("blue large cube lies blue cube")
    after = [image, free("blue large cube lies blue cube")]
    made = stream.encode(words, after, [4], {})
    assert instructions.beside(after, made, 3)[0].tolist() == ids[:3]
    made = stream.encode(words, after[::-1], [4], {})
    assert instructions.beside(after[::-1], made, 3)[1].tolist() == ids[-3:]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A corpus of documents in which some texts have loss, and its tokenizer."""
    made = small_world.make(tmp_path_factory.mktemp("asked"))
    rng, documents = np.random.default_rng(5), []
    for _ in range(40):
        segments = []
        for _ in range(int(rng.integers(1, 6))):
            segments += [small_world._jpeg(rng)] * bool(rng.random() < 0.7)
            loss = bool(rng.random() < 0.5)
            text = " ".join(rng.choice(TRAINED if loss else FREE, rng.integers(1, 5)))
            segments.append(Text(text, loss))
        documents.append(Document(tuple(segments)))
    folder = f"{made.root}/asked/train"
    shards.write(folder, documents, 2)
    index.build(folder, made.tokenizer)
    return made


def config_of(world, text, **data):
    config = world.config(sources=(Source("asked"),), **data)
    config.mixture = config_lib.Mixture((1,))
    config.model.connector = config_lib.Connector(kind="qformer", tokens=4)
    config.model.connector.qformer.text = text
    return config


@pytest.mark.parametrize("tiling", ["none", "anyres"])
def test_no_token_that_is_trained_is_ever_beside_an_image(asked, tiling):
    words = asked.tokenizer
    trained, free_ids = ids_of(words, TRAINED), ids_of(words, FREE)
    assert trained - free_ids
    config = config_of(asked, 6)
    config.model.preprocessing.tiling = tiling
    filled = 0
    for batch in pipeline.open(config).batches(0, 4):
        assert batch.texts_ZCW.shape[2] == 6
        beside_ids = batch.texts_ZCW[batch.texts_ZCW != NO_TEXT].tolist()
        assert not set(beside_ids) & (trained - free_ids)
        assert set(beside_ids) <= free_ids
        filled += int((batch.texts_ZCW[..., 0] != NO_TEXT).sum())
        assert (batch.texts_ZCW[~batch.real_ZC] == NO_TEXT).all()
        present = batch.texts_ZCW != NO_TEXT  # nothing follows the end
        assert (present[..., 1:] <= present[..., :-1]).all()
    assert filled > 20


def ids_of(words, some) -> set[int]:
    """The ids that texts of these words have."""
    texts = [" ".join(pair) for pair in itertools.product(some, repeat=2)]
    return {i for text in texts for i in words.encode(text)}


def test_every_crop_has_its_image_s_text_and_nothing_else_changes(asked):
    config, plain = config_of(asked, 5), config_of(asked, 0)
    opened, words = pipeline.open(config), asked.tokenizer
    plans = pipeline.open(plain)
    for step, (batch, other) in enumerate(
        zip(opened.batches(0, 2), plans.batches(0, 2), strict=True)
    ):
        assert other.texts_ZCW.shape[2] == 0
        assert small_world.equal(batch[:-1], other[:-1])
        for z, group in enumerate(opened.plan.rows_of(step)):
            slot = 0
            for planned in group:
                for chunk in planned.row.chunks:
                    slot = _check(opened, words, chunk, batch.texts_ZCW[z], slot)
            assert slot == batch.real_ZC[z].sum()


def _check(opened, words, chunk, texts_CW, slot) -> int:
    """Compares the texts of a chunk's images; returns the slot after them."""
    segments = opened.document(0, chunk.document).segments
    images = [n for n, s in enumerate(segments) if isinstance(s, Image)]
    made = stream.encode(words, segments, [4] * len(images), {})
    expected = instructions.beside(segments, made, 5)
    position = 1
    for number, length in enumerate(made.lengths):
        if number in expected and chunk.start <= position < chunk.stop:
            ids = [i for i in texts_CW[slot].tolist() if i != NO_TEXT]
            assert ids == expected[number].tolist()
            slot += 1
        position += length
    return slot


def test_hosts_that_hold_parts_hold_the_same_texts(asked):
    config = config_of(asked, 5)
    opened = pipeline.open(config)
    (whole,) = opened.batches(0, 1)
    half = opened.capacity // 2
    for slots, rows in ((0, half), (0, 2)), ((half, opened.capacity), (2, 4)):
        share = materialize.Share((0, 2), rows, slots)
        (part,) = opened.batches(0, 1, share)
        np.testing.assert_array_equal(part.texts_ZCW, whole.texts_ZCW[:, slice(*slots)])


def test_a_prompt_has_its_text_beside_its_image(asked):
    config, words = config_of(asked, 4), asked.tokenizer
    document = (picture(), free("blue cube"))
    batch = materialize.documents_batch(config, words, [document], complete=False)
    ids = words.encode("blue cube")[:4]
    assert batch.texts_ZCW[0, 0, : len(ids)].tolist() == ids
    assert (batch.texts_ZCW[0, 1:] == NO_TEXT).all()
