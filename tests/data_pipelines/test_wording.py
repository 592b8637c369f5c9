"""Wordings: a pure choice for each document, on which tokens and batches agree."""

import hashlib
import pathlib
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import index, pipeline, shards, wording
from data_pipelines.index_columns import STATS
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from data_pipelines.wording import Choice
from mmjax.config import Source

FOLDER = "captions/train"


def reword(world, root, every: int = 1):
    """A copy whose captions have a synthetic wording, but for every so many."""
    copy = world._replace(root=str(shutil.copytree(world.root, root)))
    documents = [
        document
        if every > 1 and number % every == 0
        else Document(
            tuple(
                s._replace(synthetic=f"seen: {s.text} near a large ball")
                if isinstance(s, Text)
                else s
                for s in document.segments
            ),
            kind=document.kind,
        )
        for number, document in enumerate(world.documents[FOLDER])
    ]
    shutil.rmtree(pathlib.Path(copy.root) / FOLDER)
    shards.write(pathlib.Path(copy.root) / FOLDER, documents, 3)
    index.build(pathlib.Path(copy.root) / FOLDER, world.tokenizer)
    return copy


@pytest.fixture(scope="module")
def reworded(world, tmp_path_factory):
    return reword(world, tmp_path_factory.mktemp("reworded") / "copy", every=3)


def config(world, share: float, **data):
    sources = (Source("captions", synthetic=share), Source("interleaved"))
    return world.config(sources=(*sources, Source("text")), **data)


def load(world, choice: Choice):
    model = world.config().model
    return index.load(f"{world.root}/{FOLDER}", world.tokenizer, model, choice)


def same(one, two) -> bool:
    return all(map(np.array_equal, one, two))


@given(
    share=st.floats(0, 1), seed=st.integers(0, 2**40), name=st.text(max_size=8),
    counts=st.tuples(st.integers(0, 300), st.integers(0, 300)),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_a_choice_depends_on_seed_source_and_record_number_alone(
    share, seed, name, counts
):
    choice = Choice(share, seed, name)
    few, many = sorted(counts)
    drawn = wording.chosen(choice, many)
    assert np.array_equal(wording.chosen(choice, few), drawn[:few])
    larger = wording.chosen(choice._replace(share=min(1.0, share + 0.1)), many)
    assert (larger | ~drawn).all()
    assert not wording.chosen(choice._replace(share=0.0), many).any()
    assert wording.chosen(choice._replace(share=1.0), many).all()


@pytest.mark.parametrize("share", [0.07, 0.5, 0.9])
def test_the_share_is_met_within_sampling_error(share):
    count = 100_000
    drawn = wording.chosen(Choice(share, 3, "captions"), count)
    assert abs(drawn.mean() - share) < 4 * np.sqrt(share * (1 - share) / count)
    other = wording.chosen(Choice(share, 3, "pages"), count)
    again = wording.chosen(Choice(share, 4, "captions"), count)
    for draws in (other, again):  # independent of the first
        expected = share**2 + (1 - share) ** 2
        assert abs((draws == drawn).mean() - expected) < 4 * np.sqrt(0.25 / count)


def test_tokens_are_those_of_the_wording_that_is_read(reworded):
    columns = load(reworded, Choice(0.5, 0, "captions"))
    reader = ShardReader(f"{reworded.root}/{FOLDER}")
    drawn = wording.chosen(Choice(0.5, 0, "captions"), len(reader))
    for number in range(len(reader)):
        picture, text = reader.document(number).segments
        assert isinstance(picture, Image)
        read = bool(drawn[number] and text.synthetic)
        assert columns.synthetic[number] == read
        expected = len(reworded.tokenizer.encode(text.synthetic if read else text.text))
        assert columns.segment_tokens[2 * number + 1] == expected
    assert 10 < columns.synthetic.sum() < 50


def test_what_others_have_does_not_change_a_documents_wording(
    world, reworded, tmp_path
):
    everyone = load(reword(world, tmp_path / "all"), Choice(0.5, 0, "captions"))
    some = load(reworded, Choice(0.5, 0, "captions"))
    has_one = load(reworded, Choice(1.0, 0, "captions")).synthetic
    assert np.array_equal(some.synthetic, everyone.synthetic & has_one)
    assert (everyone.synthetic & ~has_one).any()


def test_share_zero_reads_what_was_read_before_there_were_wordings(world, reworded):
    plain, opened = (pipeline.open(config(w, 0.0)) for w in (world, reworded))
    assert all(map(same, plain.batches(0, 6), opened.batches(0, 6)))


def test_without_wordings_digests_and_index_files_are_as_ever(world):
    """Runs that were started before can go on."""
    columns = load(world, Choice(0.9, 0, "captions"))
    infos = shards.read_manifest(f"{world.root}/{FOLDER}")["shards"]
    known = [world.tokenizer.digest, *(info["sha256"] for info in infos), "1"]
    images = int(columns.segment_image.sum())
    digest = hashlib.sha256(" ".join(known).encode())
    digest.update(np.full(images, 4, np.int64).tobytes())
    digest.update(np.ones(images, np.int64).tobytes())
    assert columns.digest == digest.hexdigest()
    for path in pathlib.Path(world.root, FOLDER).glob("*.npz"):
        with np.load(path) as file:
            assert "synthetic" not in file.files


def test_the_digest_follows_the_wordings(reworded):
    seeds = [Choice(0.5, seed, "captions") for seed in (0, 1)]
    choices = [Choice(), *seeds, Choice(0.6, 0, "captions"), Choice(1.0)]
    assert len({load(reworded, choice).digest for choice in choices}) == 5
    assert load(reworded, Choice(1.0, 5)).digest == load(reworded, Choice(1.0)).digest


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_batches_hold_the_tokens_that_the_plan_counts(reworded, share):
    opened = pipeline.open(config(reworded, share))
    words, text, loss = reworded.tokenizer, 0, 0
    rows = [0, 0, 0]
    for batch in opened.batches(0, 8):
        tokens, real = batch.tokens_ZRT, batch.segments_ZRT > 0
        inputs = real & (tokens != words.bos) & (batch.images_ZRT < 0)
        text += int(inputs.sum())
        loss += int(batch.loss_mask_ZRT.sum())
        for source in range(3):
            rows[source] += int((batch.sources_ZRT[..., 0] == source).sum())
    stats = sum(
        plan.row_stats(0, count).sum(axis=0)
        for plan, count in zip(opened.plan.sources, rows)
        if plan
    )
    assert stats[STATS.index("text_tokens")] == text
    assert stats[STATS.index("loss_tokens")] == loss
    seen = pipeline.open(config(reworded, 0.0))
    assert not all(map(same, opened.batches(0, 2), seen.batches(0, 2)))


def test_heldout_documents_keep_their_own_wording(reworded):
    opened = pipeline.open_heldout(config(reworded, 1.0), [FOLDER], rows=0)
    same_words = pipeline.open_heldout(config(reworded, 0.0), [FOLDER], rows=0)
    assert opened.steps == same_words.steps
    assert all(map(same, opened.batches(0, 2), same_words.batches(0, 2)))
