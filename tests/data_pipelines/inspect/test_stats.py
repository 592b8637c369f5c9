"""Statistics equal those of a loop over the records, and leaks are found."""

import collections
import io

import numpy as np
import PIL.Image
import pytest

from data_pipelines import index, records, shards, tokenizer
from data_pipelines.inspect import folders, stats, stats_page, stats_text
from data_pipelines.records import Document, Image, Text


def picture(colour: int, size: tuple[int, int] = (20, 30)) -> Image:
    out = io.BytesIO()
    PIL.Image.new("RGB", size, (colour, 99, 10)).save(out, "PNG")
    return Image(out.getvalue(), *size)


def write(root, name: str, documents: list[Document], words) -> None:
    shards.write(root / name, documents, 2)
    index.build(root / name, words)


@pytest.fixture
def leaky(tmp_path):
    """Two splits that share an image and a document; a model of the tokenizer."""
    words = tokenizer.train(["a red ball", "0123"], tmp_path / "tokenizer.model", 300)
    shared = Document((Text("the same text"),))
    train = [
        Document((picture(1), Text("a", synthetic="a b")), licence="MIT"),
        Document((picture(1), Text("b"), picture(2)), meta={"lang": "en"}),
        shared,
    ]
    heldout = [Document((picture(2), Text("c", loss=False), picture(3))), shared]
    write(tmp_path, "pages/train", train, words)
    write(tmp_path, "pages/heldout", heldout, words)
    return str(tmp_path), words


def measure(root: str, words, limit: int = 0) -> list[stats.Folder]:
    names = folders.find(root)
    return [stats.measure(root, name, words, limit) for name in names]


def test_figures_are_those_of_a_loop_over_the_records(world):
    found = {f.name: f for f in measure(world.root, world.tokenizer)}
    assert set(found) == set(world.documents)
    for name, given in world.documents.items():
        documents = {records.document_id(d): d for d in given}.values()
        images = [s for d in documents for s in d.segments if isinstance(s, Image)]
        texts = [s for d in documents for s in d.segments if isinstance(s, Text)]
        amounts = stats.totals([found[name]])
        tokens = [len(world.tokenizer.encode(s.text)) for s in texts]
        assert amounts["documents"] == found[name].read == len(documents)
        assert amounts["images"] == len(images)
        assert amounts["characters"] == sum(len(s.text) for s in texts)
        assert amounts["tokens"] == sum(tokens)
        sizes, contents = found[name].sizes, found[name].contents
        sides = collections.Counter((s.width, s.height) for s in images)
        pairs = zip(sizes.width.tolist(), sizes.height.tolist())
        assert collections.Counter(pairs) == sides
        per_document = collections.Counter(
            (
                sum(
                    len(world.tokenizer.encode(s.text))
                    for s in d.segments
                    if isinstance(s, Text)
                ),
                sum(isinstance(s, Image) for s in d.segments),
            )
            for d in documents
        )
        pairs = zip(sizes.tokens.tolist(), sizes.images.tolist())
        assert collections.Counter(pairs) == per_document
        assert contents.image_bytes == sum(len(s.data) for s in images)
        copies = len(images) - len({s.data for s in images})
        assert stats.repeated(found[name]) == copies
        for histogram in stats.distributions(found[name]).values():
            assert histogram.values in (len(documents), len(images))


def test_labels_and_wordings_are_counted(leaky):
    heldout, train = measure(*leaky)
    assert train.contents.languages == {"en": 1, "": 2}
    assert (train.contents.reworded, train.contents.texts) == (1, 3)
    assert (heldout.contents.reworded, heldout.contents.texts) == (0, 2)
    assert stats.repeated(train) == 1
    facts = dict(stats_text.facts(train))
    assert facts["languages"] == "none 66.7 %, en 33.3 %"
    assert facts["texts with a synthetic wording"] == "33.3 %"
    assert facts["images that repeat another"] == "1 (33.3 %)"
    assert facts["licences"] == "none 66.7 %, MIT 33.3 %"


def test_held_out_images_and_documents_that_are_trained_on_are_a_warning(leaky):
    found = measure(*leaky)
    pair = stats.Shared("pages/heldout", "pages/train", 1, 1, True)
    assert stats.shared(found) == [pair]
    line = "pages/heldout: 1 image and 1 document also in pages/train"
    assert line in stats_text.warnings(found)
    assert f"warning: {line}" in stats_text.render(found, leaky[1])


def test_images_in_two_trained_folders_are_told_but_no_warning(leaky, tmp_path):
    write(tmp_path, "other/train", [Document((picture(1),))], leaky[1])
    found = measure(*leaky)
    assert stats.Shared("other/train", "pages/train", 1, 0, False) in stats.shared(
        found
    )
    assert not any(
        "other/train: " in w and "also" in w for w in stats_text.warnings(found)
    )
    assert "other/train and pages/train share 1 image" in stats_text.render(
        found, leaky[1]
    )


def test_a_limit_reads_an_even_sample_and_says_so_while_amounts_stay_exact(world):
    whole = measure(world.root, world.tokenizer)
    part = measure(world.root, world.tokenizer, limit=7)
    assert part[0].read == 7
    assert stats.totals(part) == stats.totals(whole)
    again = measure(world.root, world.tokenizer, limit=7)
    assert [f.contents for f in again] == [f.contents for f in part]
    words = stats_text.render(part, world.tokenizer)
    assert f"7 of {part[0].manifest['records']} documents" in words
    assert "evenly spread" not in stats_text.render(whole, world.tokenizer)


def test_a_sample_is_spread_evenly():
    for total, limit in ((10, 3), (1000, 7), (8, 8), (5, 0), (0, 4)):
        numbers = folders.sample(total, limit)
        assert len(set(numbers.tolist())) == (min(total, limit) if limit else total)
        gaps = np.diff(np.append(numbers, total))
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_the_page_shows_documents_with_images_in_place_and_no_markup_of_theirs(
    leaky, tmp_path
):
    evil = "<script>alert(1)</script>"
    documents = [
        Document((Text(evil), picture(4), Text("last " * 400, synthetic=evil)))
    ]
    write(tmp_path, "evil/train", documents, leaky[1])
    page = stats_page.render(leaky[0], measure(*leaky), leaky[1])
    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(1)") == 2
    image = page.index('alt="image of 20 x 30"', page.index("&lt;script&gt;"))
    assert image < page.index("last last")
    assert "1,300 characters more" in page
    assert page.count("<img") == 5 + 1
    assert 'class="unpredicted"' in page


def test_a_folder_without_an_index_or_a_tokenizer_is_refused(leaky, tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer in it"):
        folders.open_tokenizer(str(tmp_path / "pages" / "train" / "x" / "y"), "")
    for file in (tmp_path / "pages" / "train").glob("*.npz"):
        file.unlink()
    with pytest.raises(ValueError, match="shards have no index"):
        measure(*leaky)
