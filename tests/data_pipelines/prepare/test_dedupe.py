"""What goes because of other documents, whatever the order in which they are met."""

import collections
import io
import itertools
import json
import pathlib

import PIL.Image
import pytest
import raw_corpora

from data_pipelines import records
from data_pipelines.prepare import convert, dedupe, parts
from data_pipelines.prepare.convert import Kept
from data_pipelines.prepare.filters import pages as page_rules
from data_pipelines.prepare.formats import inputs, registry
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Image, Text

RECIPE = Recipe(heldout=0.3, near_duplicates=True)
PAGES = Recipe(heldout=0.3, pages=page_rules.MM1._replace(max_appearances=3))


def _part(folder, corpus, rows, recipe, name="a.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (file,) = inputs.expand([str(path)], "", corpus)
    form = registry.FORMATS[file.format]
    (unit,) = form.units(pathlib.Path(file.file), file.folder)
    where = parts.make(parts.job(corpus, unit, recipe, folder / "parts"))
    parts.require_done(where)
    return where


def _drops(places, recipe, reverse=False):
    """What the stages on Beam do, in memory."""
    groups = collections.defaultdict(list)
    for where in places:
        for key, value in dedupe.keys(where, recipe):
            groups[key].append(value)
    found = []
    for key in sorted(groups, key=repr, reverse=reverse):
        given = groups[key][::-1] if reverse else groups[key]
        found += dedupe.compare((key, given), recipe).edges
    return dedupe.decide(found)


def _survivors(where, drops, recipe):
    found = list(dedupe.survivors(where, drops, recipe.heldout))
    kept = [one for one in found if isinstance(one, Kept)]
    return kept, [one for one in found if not isinstance(one, Kept)]


def test_of_near_duplicate_texts_the_smallest_id_stays(tmp_path):
    text = raw_corpora.prose(1, 200)
    near = text.replace("wind", "gale", 1) + " And so on."
    rows = [{"text": text}, {"text": raw_corpora.prose(2, 200)}, {"text": near}]
    where = _part(tmp_path, "text", rows, RECIPE)
    ids = [one.key for one in parts.read(where)]
    drops = _drops([where], RECIPE)
    assert drops == _drops([where], RECIPE, reverse=True)
    assert drops.texts == {"text": {max(ids[0], ids[2])}}
    kept, (reject,) = _survivors(where, drops, RECIPE)
    assert [one.key for one in kept] == [k for k in ids if k not in drops.texts["text"]]
    assert (reject.reason, reject.lost) == ("near_duplicate", "document")
    assert reject.number == 1 + ids.index(max(ids[0], ids[2]))


def test_near_duplicates_of_different_corpora_are_none(tmp_path):
    row = {"text": raw_corpora.prose(1, 200)}
    page = {"texts": [row["text"]], "images": [None]}
    places = [
        _part(tmp_path, "text", [row], RECIPE),
        _part(tmp_path, "interleaved", [page], RECIPE, "b.jsonl"),
    ]
    assert not _drops(places, RECIPE).texts


def _recompressed(data, side):
    picture = PIL.Image.open(io.BytesIO(data)).resize((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70)
    return file.getvalue()


def test_of_near_pictures_one_stays_with_all_its_captions(tmp_path):
    (tmp_path / "1.jpg").write_bytes(raw_corpora.noise(1, 200, 200))
    (tmp_path / "2.jpg").write_bytes(_recompressed(raw_corpora.noise(1, 200, 200), 160))
    (tmp_path / "3.jpg").write_bytes(raw_corpora.noise(3, 200, 200))
    rows = [{"image": f"{n}.jpg", "captions": [f"a {n}", f"b {n}"]} for n in (1, 2, 3)]
    where = _part(tmp_path, "captions", rows, RECIPE)
    drops = _drops([where], RECIPE)
    assert drops == _drops([where], RECIPE, reverse=True)
    kept, rejects = _survivors(where, drops, RECIPE)
    texts = [records.decode(one.record).segments[1].text for one in kept]
    assert texts[-2:] == ["a 3", "b 3"]
    assert texts[:2] in (["a 1", "b 1"], ["a 2", "b 2"])
    assert len(texts) == 4
    assert [r.reason for r in rejects] == ["near_duplicate"] * 2
    assert len({r.number for r in rejects}) == 1


def test_equal_pictures_and_equal_short_captions_all_stay(tmp_path):
    """One photo may be in two files of captions; "a dog" fits many photos."""
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(raw_corpora.noise(number))
    rows = [
        {"image": f"{n}.jpg", "caption": c} for n, c in [(1, "a"), (2, "a"), (1, "b")]
    ]
    where = _part(tmp_path, "captions", rows, RECIPE)
    kept, rejects = _survivors(where, _drops([where], RECIPE), RECIPE)
    assert len(kept) == 3
    assert not rejects


def _pages(folder, count):
    """Pages that all show picture 0; some show others, too."""
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(raw_corpora.noise(number))
    pages = []
    for number in range(count):
        images = (
            ["0.jpg"] if number < 2 else ["0.jpg", "1.jpg" if number < 4 else "2.jpg"]
        )
        texts = [f"before {number}"]
        places = [None]
        for image in images:
            texts += [None, f"behind {image} {number}"]
            places += [image, None]
        pages.append({"texts": texts, "images": places})
    return pages


@pytest.mark.parametrize(("count", "cut"), [(3, False), (4, True), (6, True)])
def test_an_image_on_too_many_pages_is_cut_out_of_each(tmp_path, count, cut):
    where = _part(tmp_path, "interleaved", _pages(tmp_path, count), PAGES)
    drops = _drops([where], PAGES)
    kept, rejects = _survivors(where, drops, PAGES)
    images = [r for r in rejects if r.lost == "image"]
    whole = [r for r in rejects if r.lost == "document"]
    if not cut:
        assert len(kept) == count
        assert not rejects
        return
    assert {r.reason for r in rejects} == {"image_appearances"}
    assert [r.number for r in images] == list(range(1, count + 1))
    assert [r.number for r in whole] == [1, 2]  # had no other image
    for number, one in enumerate(kept, start=2):
        first, shown, last = records.decode(one.record).segments
        assert first == Text(f"before {number}\n\nbehind 0.jpg {number}")
        assert isinstance(shown, Image)
        assert last.text.startswith("behind")
        document = records.decode(one.record)
        assert one.key == records.document_id(document)
        assert one.split == convert.side(one.key, PAGES.heldout)


def test_documents_that_a_cut_makes_equal_are_on_one_side(tmp_path):
    """Otherwise the same page would be trained on and held out."""
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(raw_corpora.noise(number))
    rules = PAGES._replace(pages=page_rules.MM1._replace(max_appearances=1))
    for text in "abcdefgh":
        pages = [
            {"texts": [text, None, None], "images": [None, "0.jpg", image]}
            for image in ("1.jpg", "2.jpg", "3.jpg")
        ]
        pages = [
            p | {"texts": p["texts"][::-1], "images": p["images"][::-1]} for p in pages
        ]
        where = _part(tmp_path, "interleaved", pages, rules, f"{text}.jsonl")
        drops = dedupe.Drops({}, {}, {"interleaved": frozenset(
            digest for _, traits in parts.traits(where)
            for digest, _ in traits.pictures[:1]
        )})  # fmt: skip
        kept, _ = _survivors(where, drops, rules)
        assert len({one.key for one in kept}) == 1
        assert len({one.split for one in kept}) == 1


def test_saved_drops_are_read_back_and_an_overwritten_file_anew(tmp_path):
    path = tmp_path / "drops"
    given = [
        dedupe.Drops({"text": frozenset([b"b", b"a"])}, {}, {"x": frozenset([b"c"])}),
        dedupe.Drops({}, {"captions": frozenset([b"d"])}, {}),
    ]
    for drops in given:
        dedupe.save(path, drops)
        assert dedupe.load(str(path)) == drops
    assert dedupe.load("") == dedupe.NONE


def test_equal_drops_are_equal_bytes(tmp_path):
    ids = [bytes([n]) * 16 for n in range(50)]
    for number, order in enumerate((ids, ids[::-1])):
        found = [("text", dedupe.TEXT, *sorted(p)) for p in itertools.pairwise(order)]
        dedupe.save(tmp_path / str(number), dedupe.decide(found))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    assert dedupe.load(str(tmp_path / "0")).texts == {"text": set(ids[1:])}
