"""Decontamination: what evaluation sets show is found, and nothing else."""

import json
import pickle
import random

import PIL.Image
import pytest

from data_pipelines.prepare import (
    decontaminate,
    evaluation_files,
    photos,
    picture_hash,
    words,
)
from data_pipelines.prepare.decontaminate import Evaluation, Look

LONG = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi"
MIDDLE = "What is the man in the red jacket holding?"  # 9 words
SHORT = "What is the man holding?"


def _found(texts, index, images=()):
    problem = decontaminate.contaminated(texts, images, index)
    return problem and problem.reason


@pytest.fixture(scope="module")
def index():
    return decontaminate.build({
        "long": Evaluation((LONG,)), "vqa": Evaluation((MIDDLE, SHORT)),
        "later": Evaluation((LONG,)),
    })  # fmt: skip


def test_thirteen_words_are_enough_and_twelve_are_not(index):
    listed = LONG.split()
    for start in (0, 1):
        shared = " ".join(listed[start : start + 13])
        assert _found([f"Some {shared.upper()}, and more."], index)
    for start in (0, 1, 2):
        shared = " ".join(listed[start : start + 12])
        assert _found([f"Some {shared} and more."], index) is None
    assert _found([], index) is None
    assert _found([""], index) is None


def test_shorter_texts_are_found_whole_and_very_short_ones_never(index):
    text = f"Look: {MIDDLE.lower()} A bag."
    assert _found([text], index) == "contaminated_vqa"
    assert _found(["what is the man in the red jacket doing"], index) is None
    assert _found([SHORT], index) is None


def test_counting_is_no_contamination():
    tables = " ".join(map(str, range(40)))
    lesson = "Count with me, children, today is the day: 1 2 3 4 5 6 7 8 9 10 11 12 13"
    index = decontaminate.build({"sums": Evaluation((tables, tables[:20], lesson))})
    assert _found([tables], index) is None
    assert _found([lesson], index) == "contaminated_sums"
    # Seven of thirteen words are words; a step further it is six.
    assert _found([lesson.split(" ", 1)[1]], index) == "contaminated_sums"
    assert _found([lesson.split(" ", 2)[2]], index) is None


def test_a_run_may_go_on_in_the_next_text(index):
    half = len(LONG) // 2
    space = LONG.index(" ", half)
    assert _found(["Before.", LONG[:space], LONG[space:]], index)
    assert _found([LONG[space:], LONG[:space]], index) is None


def test_a_text_of_two_sets_names_the_first_in_any_order(index):
    found = decontaminate.contaminated([LONG], [], index)
    shared = " ".join(LONG.split()[:13])
    assert found == ("contaminated_later", f"has the words {shared!r} of later")
    sets = {"later": Evaluation((LONG,)), "long": Evaluation((LONG,))}
    for names in (("later", "long"), ("long", "later")):
        built = decontaminate.build({name: sets[name] for name in names})
        assert _found([LONG], built) == "contaminated_later"
        assert built.names == ("later", "long")
    photo = Evaluation((), (Look(b"one", 0),))
    for names in (("a", "b"), ("b", "a")):
        built = decontaminate.build(dict.fromkeys(names, photo))
        assert _found([], built, [Look(b"one", None)]) == "contaminated_a"
        assert _found([], built, [Look(b"two", 1)]) == "contaminated_a"


def test_what_is_looked_for_is_counted_by_set(index):
    expected = {"later": (2, 0), "long": (0, 0), "vqa": (1, 0)}
    assert decontaminate.counts(index) == expected
    looks = (Look(b"one", 0), Look(b"two", 0))
    built = decontaminate.build({"a": Evaluation((SHORT,), looks)})
    assert decontaminate.counts(built) == {"a": (0, 2)}


def test_hits_are_those_of_sets_of_tuples():
    rng = random.Random(5)
    wanted, documents = (
        [" ".join(rng.choices("ab", k=rng.randint(5, most))) for _ in range(40)]
        for most in (16, 90)
    )
    index = decontaminate.build({"set": Evaluation(tuple(wanted))})
    runs = set()
    for text in wanted:
        listed = text.split()
        length = min(13, len(listed))
        if length >= 8:
            runs |= set(_runs(listed, length))
    hits = 0
    for document in documents:
        listed = document.split()
        expected = any(run in runs for n in range(8, 14) for run in _runs(listed, n))
        assert bool(_found([document], index)) == expected
        hits += expected
    assert 3 < hits < 37


def _runs(listed, length):
    return [tuple(listed[i : i + length]) for i in range(len(listed) - length + 1)]


def test_images_are_found_by_bytes_or_looks():
    looks = (Look(b"one", 0), Look(b"two", 2**64 - 1), Look(b"plain", None))
    index = decontaminate.build({"coco": Evaluation((), looks)})
    near, far = Look(b"x", 0b1111), Look(b"y", 0b11111)
    assert _found([], index, [Look(b"plain", None)]) == "contaminated_coco"
    assert _found([], index, [far, near]) == "contaminated_coco"
    assert _found([], index, [far, Look(b"z", None)]) is None
    detail = decontaminate.contaminated([], [near], index).detail
    assert detail == "has an image that differs in 4 of 64 bits of coco"
    strict = decontaminate.build({"coco": Evaluation((), looks)}, distance=0)
    assert _found([], strict, [near]) is None


def test_an_index_travels_to_workers(index):
    again = pickle.loads(pickle.dumps(index))
    assert _found([LONG], again) == _found([LONG], index)
    empty = decontaminate.build({})
    assert _found([LONG], empty, [Look(b"", 0)]) is None


def _digest_and_look(path):
    photo = photos.load(str(path.parent), path.name, 448)
    return Look(photo.digest, picture_hash.perceptual(photo.image.data))


def test_real_photos_are_found_resized_and_others_are_not(real_data, tmp_path):
    given = sorted((real_data / "captions/flickr8k_1000/images").glob("*.jpg"))[:60]
    (tmp_path / "test").mkdir()
    for path in given[:30]:
        (tmp_path / "test" / path.name).write_bytes(path.read_bytes())
    index = decontaminate.build({"f": evaluation_files.read([tmp_path / "test"])})
    for number, path in enumerate(given):
        picture = PIL.Image.open(path)
        picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(
            tmp_path / path.name, quality=70
        )
        expected = "contaminated_f" if number < 30 else None
        assert _found([], index, [_digest_and_look(path)]) == expected
        assert _found([], index, [_digest_and_look(tmp_path / path.name)]) == expected


def test_real_questions_are_found_in_documents_and_real_tutorials_are_clean(real_data):
    files = {
        "arc": [real_data / "text_qa" / "arc_easy_test_500.jsonl"],
        "textvqa": [real_data / "vqa" / "textvqa_val.jsonl.gz"],
        "pope": sorted((real_data / "vqa").glob("pope_coco_*.jsonl.gz")),
    }
    sets = {name: evaluation_files.read(paths) for name, paths in files.items()}
    index = decontaminate.build(sets)
    long = [t for t in sets["arc"].texts if len(words.words(t)) >= 8]
    assert len(long) > 400
    for text in long:
        document = ["Here is a quiz.", f"1) {text.upper()}", "What do you say?"]
        assert _found(document, index) == "contaminated_arc"
    with open(real_data / "interleaved" / "docs.jsonl", encoding="utf-8") as lines:
        documents = [filter(None, json.loads(line)["texts"]) for line in lines]
    assert [_found(document, index) for document in documents] == [None] * 183
    novel = (real_data / "text" / "botchan.txt").read_text(encoding="utf-8")
    assert _found([novel], index) is None
