"""Materialization: planned rows become exactly the arrays of a slow, plain loop."""

import itertools

import numpy as np
import pytest
import small_world

from data_pipelines import images, materialize, stream, tokenizer
from data_pipelines.buffers import Recycler
from data_pipelines.mixed import EMPTY, PlannedRow
from data_pipelines.records import Document, Image, Text
from data_pipelines.shard_reader import ShardReader
from data_pipelines.windows import Chunk, Row
from mmjax.batch import Share


@pytest.fixture
def materials(opened):
    return opened._materials


def assembled(materials, rows, share=None):
    """A group and its faults; the whole one unless a share is given."""
    shape = materials.shape
    share = share or Share((0, 1), (0, shape.rows), (0, shape.capacity))
    sizes = (stop - start for start, stop in share[1:])
    out = stream.empty(1, shape, materials.tokenizer.pad, *sizes, Recycler())
    out.pixels_ZChwc[:] = 200  # what an earlier batch left
    return out, materialize.assemble(materials, rows, share, out)


def slow_row(world, planned, slot):
    """Columns of a row, one dict a position, and its images; slots from `slot` on."""
    words, positions, pictures = world.tokenizer, [], []
    folder = ("captions", "interleaved", "text")[planned.source]
    reader = ShardReader(f"{world.root}/{folder}/train")
    for number, chunk in enumerate(planned.row.chunks, start=1):
        document = reader.document(chunk.document)
        x, loss, image, ends = [words.bos], [False], [None], False
        for segment in document.segments:
            if isinstance(segment, Text):
                ids = words.encode(segment.text)
                x += ids
                loss += [segment.loss] * len(ids)
                image += [None] * len(ids)
                ends = segment.loss
            else:
                if chunk.start <= len(x) < chunk.stop:
                    pictures.append(segment)
                x += [words.image] * 4
                loss += [False] * 4
                image += [(segment, k) for k in range(4)]
        x.append(words.eos)
        loss.append(ends)
        for i in range(chunk.start, chunk.stop):
            index = -1
            if image[i]:
                last = slot + len(pictures) - 1
                while pictures[last - slot] is not image[i][0]:
                    last -= 1
                index = last * 4 + image[i][1]
            positions.append(
                (x[i], x[i + 1], loss[i + 1], number, i - chunk.start, index)
            )
    return positions, pictures


def test_a_group_is_what_a_plain_loop_makes(world, opened, materials):
    for step, z in itertools.product(range(4), range(2)):
        rows = opened.plan.group(step, z)
        batch, faults = assembled(materials, rows)
        assert faults == []
        slot = 0
        for r, planned in enumerate(rows):
            positions, pictures = slow_row(world, planned, slot)
            fields = (
                batch.tokens_ZRT, batch.targets_ZRT, batch.loss_mask_ZRT,
                batch.segments_ZRT, batch.positions_ZRT, batch.images_ZRT,
            )  # fmt: skip
            found = list(zip(*(field[0, r, : len(positions)] for field in fields)))
            assert found == positions
            assert not batch.segments_ZRT[0, r, len(positions) :].any()
            assert not batch.loss_mask_ZRT[0, r, len(positions) :].any()
            assert (batch.sources_ZRT[0, r] == planned.source).all()
            for picture in pictures:
                expected = np.empty((16, 16, 3), np.uint8)
                images.decode(picture.data, expected)
                assert np.array_equal(batch.pixels_ZChwc[0, slot], expected)
                slot += 1
        assert not batch.pixels_ZChwc[0, slot:].any()
        assert batch.real_ZC[0].tolist() == [i < slot for i in range(opened.capacity)]


@pytest.mark.parametrize("cuts", [(2, 2), (4, 1), (1, 4), (4, 4)])
def test_shares_glued_together_are_the_group(opened, materials, cuts):
    rows = opened.plan.group(1, 0)
    whole = assembled(materials, rows)[0]
    edges = [
        np.linspace(0, n, k + 1, dtype=int) for n, k in zip((4, opened.capacity), cuts)
    ]
    row_boxes, slot_boxes = (list(itertools.pairwise(e.tolist())) for e in edges)
    for low, high in row_boxes:
        for first, stop in slot_boxes:
            share = Share((0, 1), (low, high), (first, stop))
            part = assembled(materials, rows, share)[0]
            rows_ = [array[:, low:high] for array in whole[:7]]
            slots = [array[:, first:stop] for array in whole[7:]]
            assert small_world.equal(part, [*rows_, *slots])


def test_every_token_and_image_of_the_epoch_comes_once(world, opened, materials):
    """All chunks of one source, laid in rows of their own."""
    reader = ShardReader(f"{world.root}/interleaved/train")
    source = opened.plan.sources[1]
    chunks = [c for k in range(source.rows(0)) for c in source.row(k).chunks]
    tokens, pictures = {}, 0
    for chunk in chunks:
        row = PlannedRow(1, Row((chunk,), chunk.stop - chunk.start, 0))
        batch, _ = assembled(materials, [row, *[PlannedRow(0, EMPTY)] * 3])
        length = chunk.stop - chunk.start
        tokens[chunk.document, chunk.start] = batch.targets_ZRT[0, 0, :length].tolist()
        pictures += int(batch.real_ZC.sum())
    for number in range(len(reader)):
        document = reader.document(number)
        parts = sorted((key[1], ids) for key, ids in tokens.items() if key[0] == number)
        ids = list(itertools.chain(*(part for _, part in parts)))
        pictures -= sum(isinstance(s, Image) for s in document.segments)
        words = world.tokenizer
        expected = [
            [words.image] * 4 if isinstance(s, Image) else words.encode(s.text)
            for s in document.segments
        ]
        assert ids == [*itertools.chain(*expected), words.eos]
    assert pictures == 0


class Damaged:
    """A reader in which every image of one document is cut off."""

    def __init__(self, reader, number):
        self.reader, self.number = reader, number

    def document(self, number):
        document = self.reader.document(number)
        if number != self.number:
            return document
        return document._replace(
            segments=tuple(
                s._replace(data=s.data[:200]) if isinstance(s, Image) else s
                for s in document.segments
            )
        )


def with_corpus(materials, source, **fields):
    corpora = list(materials.corpora)
    corpora[source] = corpora[source]._replace(**fields)
    return materials._replace(corpora=tuple(corpora))


def test_a_damaged_image_is_grey_and_only_its_chunk_has_no_loss(opened, materials):
    rows = opened.plan.group(0, 0)
    r = next(i for i, p in enumerate(rows) if p.source == 0 and len(p.row.chunks) > 1)
    victim = rows[r].row.chunks[1].document
    reader = Damaged(materials.corpora[0].reader, victim)
    broken = with_corpus(materials, 0, reader=reader)
    whole, _ = assembled(materials, rows)
    batch, faults = assembled(broken, rows)
    assert faults == [(0, victim, "image", r, 2)]
    chunk_RT = whole.segments_ZRT[0] == 2
    chunk_RT &= np.arange(len(rows))[:, None] == r
    assert whole.loss_mask_ZRT[0][chunk_RT].any()
    expected = whole.loss_mask_ZRT & ~chunk_RT
    slots = np.unique(whole.images_ZRT[0][chunk_RT & (whole.images_ZRT[0] >= 0)] // 4)
    assert len(slots) == 1
    pixels = whole.pixels_ZChwc.copy()
    pixels[0, slots] = images.GREY
    assert small_world.equal(
        batch, whole._replace(loss_mask_ZRT=expected, pixels_ZChwc=pixels)
    )
    # A process that holds the row but not the slot masks it, too.
    far = (0, 1) if slots[0] else (1, 2)
    share = Share((0, 1), (r, r + 1), far)
    part, also = assembled(broken, rows, share)
    assert np.array_equal(part.loss_mask_ZRT, expected[:, r : r + 1])
    assert also == [faults[0]._replace(row=0)]


def test_another_tokenizer_is_noticed(opened, materials, tmp_path):
    other = tokenizer.train(["quite other words"], tmp_path / "o.model", 300)
    rows = opened.plan.group(0, 0)
    with pytest.raises(ValueError, match=r"shard-0000\d.*: record \d+ has segments of"):
        assembled(materials._replace(tokenizer=other), rows)


def test_changed_segments_are_noticed(opened, materials):
    reader = materials.corpora[0].reader

    class Swapped:
        place = reader.place

        def document(self, number):
            return Document(reader.document(number).segments[::-1])

    broken = with_corpus(materials, 0, reader=Swapped())
    row = PlannedRow(0, Row((Chunk(0, 0, 5),), 5, 1))
    with pytest.raises(ValueError, match="record 0 has other segments"):
        assembled(broken, [row])


def test_documents_become_rows_of_their_own(world):
    config, words = world.config(), world.tokenizer
    picture = world.documents["captions/train"][0].segments[0]
    question, answer = Text("a ball", loss=False), Text(" 17")
    rows = [(picture, question, answer), (question,), (answer, picture, picture)]
    batch = materialize.documents_batch(config, words, rows, complete=True)
    assert batch.tokens_ZRT.shape == (1, 3, 64)
    assert batch.real_ZC.tolist() == [[True] * 3 + [False]]
    q, a = len(words.encode("a ball")), len(words.encode(" 17"))
    assert (batch.segments_ZRT > 0).sum(-1).tolist() == [[5 + q + a, 1 + q, 9 + a]]
    assert batch.loss_mask_ZRT.sum(-1).tolist() == [[a + 1, 0, a + 1]]
    assert batch.images_ZRT[0, 0, 1:5].tolist() == [0, 1, 2, 3]
    assert batch.images_ZRT[0, 2, 1 + a : 9 + a].tolist() == list(range(4, 12))
    assert words.eos in batch.targets_ZRT[0, 0]


def test_a_prompt_has_no_end(world):
    config, words = world.config(), world.tokenizer
    prompt = [(Text("a red"),)]
    open_ = materialize.documents_batch(config, words, prompt, complete=False)
    closed = materialize.documents_batch(config, words, prompt, complete=True)
    assert small_world.equal(open_[:1], closed[:1])
    assert words.eos not in open_.targets_ZRT
    assert open_.loss_mask_ZRT.sum() == closed.loss_mask_ZRT.sum() - 1
    ids = [words.bos, *words.encode("a red")]
    assert open_.tokens_ZRT[0, 0, : len(ids)].tolist() == ids
    assert open_.pixels_ZChwc.shape[1] == 4  # a pool is never empty


def test_documents_that_make_no_row_are_refused(world):
    config, words = world.config(), world.tokenizer
    with pytest.raises(ValueError, match=r"document 1: \d+ positions, a row has 64"):
        materialize.documents_batch(
            config, words, [(Text("a"),), (Text("ball " * 99),)], complete=True
        )
    with pytest.raises(ValueError, match="document 0: an image can't be decoded"):
        materialize.documents_batch(config, words, [(Image(b"x", 5, 5),)], True)


def test_a_pool_group_has_the_configs_shape(world):
    shape = stream.shape_of(world.config(), 12)
    assert shape == (4, 64, 12, 4, 16)
