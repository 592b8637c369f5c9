"""The page of rows holds what the batches hold, no more and no less."""

import base64
import html.parser
import io

import numpy as np
import PIL.Image
import pytest

from data_pipelines import pipeline
from data_pipelines.inspect import rows, rows_page
from data_pipelines.inspect.rows import Picture, Token
from data_pipelines.records import Text


class Page(html.parser.HTMLParser):
    """Counts what a page shows, by CSS class and tag."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text[text.index("</header>") :])
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str, css: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag and css in (a.get("class") or "")]


def flow(text: str) -> Page:
    """The rows of a page, without its legend."""
    return Page(
        text[: text.index("</header>")] + "</header>" + text[text.index("<article") :]
    )


@pytest.mark.parametrize("count", [16, 5, 1])
def test_the_page_holds_as_many_documents_images_and_trained_tokens_as_the_batches(
    world, count
):
    config = world.config()
    opened = pipeline.open(config)
    groups = list(rows.read(config, opened, 2, count))
    page = flow(rows_page.render("a name", config, groups))
    documents = images = trained = positions = padding = 0
    left = count
    for batch in opened.batches(2, 4):
        segments = batch.segments_ZRT.reshape(-1, config.data.row_tokens)[:left]
        loss = batch.loss_mask_ZRT.reshape(-1, config.data.row_tokens)[:left]
        held = batch.images_ZRT.reshape(-1, config.data.row_tokens)[:left]
        documents += int(segments.max(axis=1).sum())
        trained += int(loss.sum())
        positions += int((segments > 0).sum())
        padding += int((segments == 0).sum())
        images += int((held >= 0).sum()) // config.model.connector.tokens
        left -= len(segments)
    assert len(page.of("article")) == count
    assert len(page.of("span", "doc")) == documents
    assert len(page.of("img")) == images
    assert len(page.of("i", "trained")) == trained
    shown = [row for group in groups for row in group.rows]
    assert sum(row.positions for row in shown) == positions
    assert sum(row.padding for row in shown) == padding
    assert sum(row.trained for row in shown) == trained
    assert len(page.of("span", "pad")) == sum(row.padding > 0 for row in shown)


def test_whole_groups_tell_how_full_their_pool_is(world):
    config = world.config()
    opened = pipeline.open(config)
    groups = list(rows.read(config, opened, 0, 8))
    (batch,) = opened.batches(0, 1)
    text = rows_page.render("a name", config, groups)
    for z, group in enumerate(groups):
        used, slots = int(batch.real_ZC[z].sum()), batch.real_ZC.shape[1]
        assert sum(row.images for row in group.rows) == group.used == used
        assert f"{used} of {slots} image slots used" in text
    assert "rows shown" not in text
    text = rows_page.render("a name", config, list(rows.read(config, opened, 0, 5)))
    assert "1 of 4 rows shown" in text


def test_entries_are_the_document_read_from_its_record(world):
    config = world.config()
    opened = pipeline.open(config)
    words = world.tokenizer
    checked = 0
    for group in rows.read(config, opened, 0, 16):
        planned = opened.documents_of(group.step)[group.number]
        for row in group.rows:
            for chunk, place in zip(row.chunks, planned[row.number]):
                segments = opened.document(*place).segments
                first, last = chunk.entries[0], chunk.entries[-1]
                whole = isinstance(first, Token) and first.id == words.bos
                if not (whole and isinstance(last, Token) and last.id == words.eos):
                    continue  # a part of a document
                expected = [words.bos]
                for segment in segments:
                    text = isinstance(segment, Text)
                    expected += words.encode(segment.text) if text else [None]
                found = [e.id if isinstance(e, Token) else None for e in chunk.entries]
                assert found == [*expected, words.eos]
                checked += 1
    assert checked > 20


def test_entries_that_are_trained_are_those_whose_text_has_loss(world):
    config = world.config()
    opened = pipeline.open(config)
    words = world.tokenizer
    silent = 0
    for group in rows.read(config, opened, 0, 16):
        planned = opened.documents_of(group.step)[group.number]
        for row in group.rows:
            for chunk, place in zip(row.chunks, planned[row.number]):
                segments = opened.document(*place).segments
                tokens = [e for e in chunk.entries if isinstance(e, Token)]
                if tokens[0].id != words.bos or tokens[-1].id != words.eos:
                    continue
                expected = [False]
                for segment in segments:
                    if isinstance(segment, Text):
                        expected += [segment.loss] * len(words.encode(segment.text))
                texts = [s for s in segments if isinstance(s, Text)]
                expected.append(texts[-1].loss)
                assert [token.trained for token in tokens] == expected
                silent += not all(text.loss for text in texts)
    assert silent


def test_images_are_the_pixels_of_the_batch_in_their_slots(world):
    config = world.config()
    opened = pipeline.open(config)
    (group, *_) = rows.read(config, opened, 0, 8)
    (batch,) = opened.batches(0, 1)
    page = flow(rows_page.render("a name", config, [group]))
    pictures = [
        entry
        for row in group.rows
        for chunk in row.chunks
        for entry in chunk.entries
        if isinstance(entry, Picture)
    ]
    assert len(page.of("img")) == len(pictures) > 0
    for shown, picture in zip(page.of("img"), pictures):
        data = base64.b64decode((shown["src"] or "").split(",")[1])
        pixels_hwc = np.asarray(PIL.Image.open(io.BytesIO(data)))
        expected = batch.pixels_ZChwc[0, picture.slot]
        np.testing.assert_array_equal(pixels_hwc, expected)
        assert f"slot {picture.slot} of group 0" in (shown["title"] or "")
        assert picture.stop - picture.start == config.model.connector.tokens


def test_rows_beyond_the_end_of_the_run_are_refused(world):
    config = world.config()
    opened = pipeline.open(config)
    with pytest.raises(ValueError, match="batches 11 to 12 of a run that has 0 to 11"):
        list(rows.read(config, opened, 11, 9))
    assert len(list(rows.read(config, opened, 11, 8))) == 2
