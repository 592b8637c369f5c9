"""Records become documents, or rejects with their reasons."""

import json

import format_files
import PIL.Image
import pytest
import raw_corpora

from data_pipelines import records
from data_pipelines.prepare import convert, decontaminate, evaluation_files
from data_pipelines.prepare import recipe as recipes
from data_pipelines.prepare.convert import Kept
from data_pipelines.prepare.decontaminate import Evaluation
from data_pipelines.prepare.filters import captions as caption_rules
from data_pipelines.prepare.filters import pages as page_rules
from data_pipelines.prepare.filters import pictures as picture_rules
from data_pipelines.prepare.filters import quality, scores
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Picture, Raw, Reject
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Image, Text


@pytest.fixture
def images(tmp_path):
    for number in range(40):
        picture = PIL.Image.new("RGB", (8, 8), (6 * number, 0, 0))
        picture.save(tmp_path / f"{number}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    return tmp_path


def _parted(raw, corpus, recipe=None):
    """Kept documents, and rejects, of a Raw or a Reject of a reader."""
    if isinstance(raw, Reject):
        return [], [raw]
    found = list(convert.documents(raw, corpus, recipe or Recipe()))
    kept = [f for f in found if isinstance(f, Kept)]
    return kept, [f for f in found if isinstance(f, Reject)]


def _run(corpus, data, folder, recipe=None):
    """Documents and rejects of one record of a .jsonl in the folder of images."""
    path = format_files.as_lines(folder / "file.jsonl", [b"", b"", data])
    documents, rejects = [], []
    for raw in format_files.found(path, corpus, folder=str(folder)):
        kept, more = _parted(raw, corpus, recipe)
        documents += [records.decode(one.record) for one in kept]
        rejects += more
    return documents, rejects


def _shown(document):
    return [s.text if isinstance(s, Text) else Image for s in document.segments]


def _page(*parts, folder=""):
    """A Raw of texts and pictures, which are encoded."""
    made = [Text(p) if isinstance(p, str) else Picture(data=p) for p in parts]
    return Raw("file", 3, (tuple(made),), folder)


def test_every_caption_of_an_image_is_a_document(images):
    data = {"image": "1.jpg", "captions": ["A.", " B. "], "licence": "CC", "url": "u"}
    kept, rejects = _run("captions", data, images)
    assert [_shown(d) for d in kept] == [[Image, "A."], [Image, "B."]]
    assert {(d.licence, d.url, d.source) for d in kept} == {("CC", "u", "captions")}
    assert not rejects
    kept, _ = _run("captions", {"image": "1.jpg", "caption": "C."}, images)
    assert [_shown(d) for d in kept] == [[Image, "C."]]


def test_all_captions_of_an_image_are_on_the_same_side(images):
    sides = []
    for number in range(40):
        shown = Picture(path=f"{number}.jpg")
        raw = Raw("f", 1, tuple((shown, Text(t)) for t in "abc"), str(images))
        found = {one.split for one in _parted(raw, "captions", Recipe(heldout=0.5))[0]}
        assert len(found) == 1
        sides += found
    assert 8 < sides.count("heldout") < 32


def test_files_that_become_the_same_image_are_on_the_same_side(tmp_path):
    """A PNG with other chunks is another file, but its record is the same."""
    for number in range(30):
        picture = PIL.Image.new("RGB", (8, 8), (8 * number, 5, 0))
        picture.save(tmp_path / "a.png")
        picture.save(tmp_path / "b.png", compress_level=0, dpi=(72, 72))
        found = []
        for name in ("a.png", "b.png"):
            raw = Raw("f", 1, ((Picture(path=name), Text("c")),), str(tmp_path))
            found += _parted(raw, "captions", Recipe(heldout=0.5))[0]
        assert found[0].record == found[1].record
        assert found[0].split == found[1].split
        assert found[0].traits != found[1].traits


def test_the_held_out_share_is_as_asked_and_more_is_a_superset():
    def heldout(share):
        raws = [_page(f"text {number}") for number in range(2000)]
        kept = [_parted(raw, "text", Recipe(heldout=share))[0][0] for raw in raws]
        return {number for number, one in enumerate(kept) if one.split == "heldout"}

    assert heldout(0.0) == set()
    few, more = heldout(0.05), heldout(0.2)
    assert few < more
    assert 60 < len(few) < 140


def test_an_interleaved_document_keeps_reading_order(images):
    data = {
        "texts": ["one", None, "two", "three", " ", None],
        "images": [None, {"file": "1.jpg", "alt": "x"}, None, None, None, "2.jpg"],
    }
    kept, rejects = _run("interleaved", data, images)
    assert [_shown(d) for d in kept] == [["one", Image, "two\n\nthree", Image]]
    assert not rejects


LOSING = {
    "texts": ["one", None, "two", None],
    "images": [None, "broken.jpg", None, {"path": "1.jpg"}],
}


def test_an_interleaved_document_that_loses_an_image_keeps_its_text(images):
    kept, rejects = _run("interleaved", LOSING, images)
    assert [_shown(d) for d in kept] == [["one\n\ntwo", Image]]
    assert [(r.reason, r.lost) for r in rejects] == [("unreadable_image", "image")]
    assert "broken.jpg" in rejects[0].detail


def test_a_lost_image_may_cost_the_document_or_stop_everything(images):
    settings = Settings(missing_image="drop")
    kept, rejects = _run("interleaved", LOSING, images, Recipe(settings))
    assert not kept
    assert [(r.reason, r.lost) for r in rejects] == [("unreadable_image", "record")]
    settings = Settings(missing_image="error")
    with pytest.raises(ValueError, match=r"file.jsonl: record 3: unreadable_image"):
        _run("interleaved", LOSING, images, Recipe(settings))


def test_an_image_that_a_rule_refuses_is_not_a_missing_one(tmp_path):
    """A logo is cut out of a page, also where a damaged image would stop all."""
    page = _page("one", raw_corpora.noise(1), "two", raw_corpora.noise(2, 40, 40))
    for policy in ("text_only", "drop", "error"):
        recipe = Recipe(Settings(missing_image=policy), pictures=picture_rules.MM1)
        (kept,), rejects = _parted(page, "interleaved", recipe)
        assert _shown(records.decode(kept.record)) == ["one", Image, "two"]
        assert [(r.reason, r.lost) for r in rejects] == [("image_side", "image")]


def test_a_text_keeps_its_spaces_and_newlines(tmp_path):
    kept, _ = _run("text", {"text": "\n  a\n\tb \n"}, tmp_path)
    assert [_shown(d) for d in kept] == [["  a\n\tb "]]


CAPTION = {"image": "1.jpg", "caption": "c"}
BAD = [
    ("captions", b"{not json", "malformed_json", "record"),
    ("captions", b"3", "malformed_json", "record"),
    ("captions", b'{"a":' * 100_000, "malformed_json", "record"),
    ("captions", b'{"image": "\xff"}', "not_utf8", "record"),
    ("captions", CAPTION | {"caption": "\ud800"}, "not_utf8", "record"),
    ("captions", {"image": "1.jpg"}, "missing_field", "record"),
    ("captions", {"caption": "c"}, "missing_field", "record"),
    ("captions", CAPTION | {"caption": 3}, "missing_field", "record"),
    ("captions", CAPTION | {"captions": []}, "missing_field", "record"),
    ("captions", CAPTION | {"caption": " \n"}, "empty_caption", "caption"),
    ("captions", CAPTION | {"captions": [None]}, "empty_caption", "caption"),
    ("captions", CAPTION | {"image": "no.jpg"}, "missing_image", "record"),
    ("captions", CAPTION | {"image": "../x.jpg"}, "image_outside_folder", "record"),
    ("captions", CAPTION | {"image": "/etc/passwd"}, "image_outside_folder", "record"),
    ("captions", CAPTION | {"image": "broken.jpg"}, "unreadable_image", "record"),
    ("captions", CAPTION | {"image": "http://x/y"}, "image_not_local", "record"),
    ("interleaved", {"texts": ["a"]}, "missing_field", "record"),
    ("interleaved", {"texts": ["a"], "images": []}, "misaligned", "record"),
    ("interleaved", {"texts": ["a"], "images": ["1.jpg"]}, "misaligned", "record"),
    ("interleaved", {"texts": [None], "images": [None]}, "misaligned", "record"),
    ("interleaved", {"texts": [3], "images": [None]}, "misaligned", "record"),
    ("interleaved", {"texts": [None], "images": ["1.jpg"]}, "empty_text", "record"),
    ("text", {"text": None}, "missing_field", "record"),
    ("text", {"text": " \n "}, "empty_text", "record"),
    ("text", {"text": "a\udc80"}, "not_utf8", "record"),
]


@pytest.mark.parametrize(("corpus", "data", "reason", "lost"), BAD)
def test_what_is_bad_is_left_out_with_a_reason(images, corpus, data, reason, lost):
    kept, rejects = _run(corpus, data, images)
    assert not kept
    assert [(r.reason, r.lost) for r in rejects] == [(reason, lost)]
    assert [(r.file, r.number) for r in rejects] == [(str(images / "file.jsonl"), 3)]
    assert rejects[0].detail
    json.dumps(rejects[0]._asdict()).encode("utf-8")


def test_one_empty_caption_among_good_ones_loses_only_itself(images):
    data = {"image": "1.jpg", "captions": ["a", "", "b"]}
    kept, rejects = _run("captions", data, images)
    assert len(kept) == 2
    assert [r.reason for r in rejects] == ["empty_caption"]


def test_an_image_that_a_page_shows_again_is_cut_and_told(tmp_path):
    one, other = raw_corpora.noise(1), raw_corpora.noise(2)
    page = _page("a", one, "b", one, "c", other, one, "d")
    (kept,), rejects = _parted(page, "interleaved", Recipe(pages=page_rules.MM1))
    shown = _shown(records.decode(kept.record))
    assert shown == ["a", Image, "b\n\nc", Image, "d"]
    assert [(r.reason, r.lost) for r in rejects] == [("image_repeated", "image")] * 2
    (kept,), rejects = _parted(page, "interleaved")
    assert _shown(records.decode(kept.record)).count(Image) == 4
    assert not rejects


FILTERED = [
    ("captions", "a river", {"captions": caption_rules.DEFAULT}, "caption_words"),
    ("captions", "IMG_0042.jpg", {"captions": caption_rules.DEFAULT}, "caption_file"),
    ("interleaved", "too short", {"texts": quality.GOPHER}, "text_words"),
    ("interleaved", "no image", {"pages": page_rules.MM1}, "page_pictures"),
    ("text", "too short", {"texts": quality.GOPHER}, "text_words"),
    ("text", raw_corpora.prose(1), {"texts": quality.C4}, "text_sentences"),
    ("text", raw_corpora.prose(1) + " drat",
     {"texts": quality.GOPHER, "bad_words": ("drat",)}, "text_bad_words"),
    ("text", "Der Hund ist auf der Wiese und bellt sehr laut den Mond an.",
     {"languages": ("en",)}, "language"),
    ("text", "any", {"scores": (scores.parse("similarity>=0.3"),)},
     "score_similarity"),
    ("text", "any", {"scores": (scores.parse("punsafe<1"),), "missing_scores": "drop"},
     "score_missing"),
]  # fmt: skip


@pytest.mark.parametrize(("corpus", "text", "rules", "reason"), FILTERED)
def test_each_filter_refuses_what_it_is_for_and_nothing_without_it(
    corpus, text, rules, reason
):
    if "languages" in rules:
        pytest.importorskip("py3langid")
    parts = [raw_corpora.noise(1), text] if corpus == "captions" else [text]
    raw = _page(*parts)._replace(scores={"similarity": 0.2})
    assert len(_parted(raw, corpus)[0]) == 1
    kept, (reject,) = _parted(raw, corpus, Recipe(**rules))
    assert not kept
    assert reject.reason.startswith(reason)
    assert (reject.number, reject.lost) == (3, "record")


SIZES = [
    ((40, 40), "image_side"),
    ((300, 110), "image_aspect"),
]


@pytest.mark.parametrize(("size", "reason"), SIZES)
def test_image_rules_look_at_the_image_as_it_was(size, reason):
    raw = _page(raw_corpora.noise(1, *size), "a caption of it")
    rules = Recipe(max_side=64, pictures=picture_rules.MM1)
    kept, (reject,) = _parted(raw, "captions", rules)
    assert not kept
    assert reject.reason == reason
    good = _page(raw_corpora.noise(1, 128, 128), "a caption of it")
    assert len(_parted(good, "captions", rules)[0]) == 1  # though it becomes small


@pytest.fixture
def evaluated(tmp_path):
    """A recipe that keeps an evaluation set out: one long question, one photo."""
    photo = tmp_path / "held" / "p.jpg"
    photo.parent.mkdir()
    photo.write_bytes(raw_corpora.noise(77, 300, 280))
    looks = evaluation_files.read([photo.parent]).images
    made = decontaminate.build({"quiz": Evaluation((raw_corpora.prose(5, 20),), looks)})
    path = tmp_path / "index.pickle"
    path.write_bytes(recipes.pickle.dumps(made))
    return Recipe(evaluations=str(path), evaluations_digest="a")


def test_what_an_evaluation_shows_is_not_trained_on(evaluated):
    question, photo = raw_corpora.prose(5, 20), raw_corpora.noise(77, 300, 280)
    again = raw_corpora.noise(77, 150, 140)  # the same, smaller
    other = raw_corpora.noise(78)
    reworded = Raw("f", 1, ((Picture(data=other), Text("c", synthetic=question)),))
    for raw in (_page(question), _page("a", photo), _page("a", again), reworded):
        kept, (reject,) = _parted(raw, "interleaved", evaluated)
        assert not kept
        assert reject.reason == "contaminated_quiz"
    kept, rejects = _parted(_page("a", other), "interleaved", evaluated)
    assert len(kept) == 1
    assert not rejects


def test_an_index_of_the_same_path_but_another_digest_is_read_anew(evaluated):
    question = _page(raw_corpora.prose(5, 20))
    assert not _parted(question, "text", evaluated)[0]
    with open(evaluated.evaluations, "wb") as file:
        recipes.pickle.dump(decontaminate.build({}), file)
    changed = evaluated._replace(evaluations_digest="b")
    assert len(_parted(question, "text", changed)[0]) == 1


def test_another_wording_stays_beside_its_caption(images):
    raw = Raw("f", 1, ((Picture(path="1.jpg"), Text("a", synthetic="b")),), str(images))
    ((kept,), _) = _parted(raw, "captions")
    assert records.decode(kept.record).segments[1] == Text("a", synthetic="b")
