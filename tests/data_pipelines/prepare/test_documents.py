"""Documents of the sample world: deterministic, split by scene, in a fixed form."""

import collections
import hashlib
import os
import subprocess
import sys

import pytest

from data_pipelines import records
from data_pipelines.prepare import documents, questions
from data_pipelines.records import Image, Text

NAMES = (documents.NAMES, documents.ONE_NAME)
ALL = (*documents.SOURCES, *documents.QUESTIONS, *NAMES)
SEEN = {
    (source, split): [documents.document(0, source, split, i, 64) for i in range(150)]
    for source in documents.SOURCES
    for split in ("train", "heldout")
}
ASKED = {
    kind: [documents.document(0, kind, "heldout", i, 64) for i in range(96)]
    for kind in documents.QUESTIONS
}

DIGEST = """
import hashlib
from data_pipelines import records
from data_pipelines.prepare import documents
digest = hashlib.sha256()
for source in (*documents.SOURCES, *documents.QUESTIONS, "names", "one_name"):
    for i in range(10):
        document = documents.document(7, source, "heldout", i, 64)
        digest.update(records.encode(document))
print(digest.hexdigest())
"""


def test_a_document_has_the_same_bytes_in_every_process():
    digest = hashlib.sha256()
    for source in ALL:
        for i in range(10):
            document = documents.document(7, source, "heldout", i, 64)
            digest.update(records.encode(document))
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    found = subprocess.run(
        [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True
    )
    assert found.stdout.strip() == digest.hexdigest(), found.stderr


def test_seed_source_split_and_index_each_make_another_document():
    first = documents.document(0, "captions", "train", 0, 64)
    others = [
        documents.document(1, "captions", "train", 0, 64),
        documents.document(0, "interleaved", "train", 0, 64),
        documents.document(0, "captions", "heldout", 0, 64),
        documents.document(0, "captions", "train", 1, 64),
    ]
    assert all(records.document_id(first) != records.document_id(o) for o in others)


def test_no_held_out_scene_occurs_in_training():
    shown = collections.defaultdict(set)
    for (_, split), found in SEEN.items():
        shown[split].update(s for d in found for s in d.meta["scenes"])
    for found in ASKED.values():
        shown["heldout"].update(s for d in found for s in d.meta["scenes"])
    assert shown["train"]
    assert shown["heldout"]
    assert not shown["train"] & shown["heldout"]


@pytest.mark.parametrize("kind", documents.QUESTIONS)
def test_a_question_is_images_a_prompt_and_an_answer_that_alone_counts(kind):
    for document in ASKED[kind]:
        *before, prompt, answer = document.segments
        assert document.kind == kind
        assert isinstance(prompt, Text)
        assert isinstance(answer, Text)
        assert not prompt.loss
        assert answer.loss
        assert answer.text.startswith(" ")
        assert not any(s.loss for s in before if isinstance(s, Text))
        images = [s for s in before if isinstance(s, Image)]
        wanted = {"naming": 5, "cloze": 0}.get(kind, 1)
        assert len(images) == wanted == len(document.meta["scenes"])


@pytest.mark.parametrize("kind", documents.QUESTIONS)
def test_no_answer_is_much_more_common_than_the_others(kind):
    counts = collections.Counter(d.segments[-1].text for d in ASKED[kind])
    limit = 0.5 if kind == "yes_no" else 0.4
    assert max(counts.values()) <= limit * len(ASKED[kind])
    asked = documents.SEVERAL.get(kind, kind)
    if asked in questions.ANSWERS:
        assert set(counts) == {f" {answer}" for answer in questions.ANSWERS[asked]}


@pytest.mark.parametrize("kind", documents.SEVERAL)
def test_questions_about_several_things_show_several(kind):
    """A description has a comma between two things."""
    shown = [scene for d in ASKED[kind] for scene in d.meta["scenes"]]
    assert len(shown) == len(ASKED[kind])
    assert all("," in scene for scene in shown)


@pytest.mark.parametrize("kind", [k for k in documents.QUESTIONS if k != "cloze"])
def test_questions_have_pictures_of_their_own(kind):
    """But for chance: small pictures of one thing without texture can be equal."""
    pictures = [s.data for d in ASKED[kind] for s in d.segments if isinstance(s, Image)]
    assert len(set(pictures)) >= 0.95 * len(pictures)


def test_pages_ask_exactly_as_the_questions_do():
    prompts = {
        segment.text
        for document in SEEN["interleaved", "train"]
        for segment in document.segments
        if document.kind in ("questions", "lesson") and isinstance(segment, Text)
    }
    for kind in ("colour", "shape", "count", "naming"):
        asked = {d.segments[-2].text for d in ASKED[kind]}
        assert asked <= prompts


def test_after_an_answer_nothing_but_the_end_is_ever_predicted():
    """So that a model that has learned the pages ends its own answers."""
    for document in SEEN["interleaved", "train"]:
        if document.kind != "questions":
            continue
        for segment, following in zip(document.segments, document.segments[1:]):
            if isinstance(segment, Text) and segment.text.startswith(" "):
                assert isinstance(following, Image) or not following.loss


def test_interleaved_documents_are_of_three_kinds_and_most_have_several_images():
    found = SEEN["interleaved", "train"]
    kinds = collections.Counter(d.kind for d in found)
    assert set(kinds) == {"questions", "lesson", "album"}
    assert kinds["questions"] > 0.4 * len(found)
    images = [sum(isinstance(s, Image) for s in d.segments) for d in found]
    assert sum(n > 1 for n in images) > 0.7 * len(found)


def test_a_lesson_teaches_two_words_for_this_document_only():
    meanings = collections.defaultdict(set)
    for document in ASKED["naming"]:
        *examples, _, prompt, answer = document.segments
        taught = {s.text for s in examples if isinstance(s, Text)}
        assert len(taught) == 2
        assert prompt.text + answer.text in taught
        for word, scene in zip(
            [s.text for s in examples if isinstance(s, Text)], document.meta["scenes"]
        ):
            meanings[word].add(scene.split(" on ")[0])
    assert all(len(scenes) > 1 for scenes in meanings.values())


def test_a_document_of_names_shows_two_words_over_nine_pictures():
    for index in range(20):
        document = documents.document(0, "names", "train", index, 32)
        said = [s.text for s in document.segments if isinstance(s, Text)]
        assert len(document.meta["scenes"]) == len(said) == documents.NAMED == 9
        assert len(set(said)) == len(set(said[:2])) == 2
        looks = collections.defaultdict(set)
        for word, scene in zip(said, document.meta["scenes"]):
            _size, colour, shape = scene.split(" on ")[0].split()
            looks[word].add((colour, shape))
        assert all(len(seen) == 1 for seen in looks.values())


def test_questions_of_a_group_give_two_words_one_meaning():
    meanings = set()
    for group in range(20):
        found = [
            documents.document(0, "one_name", "heldout", index, 32)
            for index in range(documents.GROUP * group, documents.GROUP * (group + 1))
        ]
        assert {document.meta["group"] for document in found} == {group}
        looks = collections.defaultdict(list)
        said = [document.segments[-1].text for document in found]
        for document, word in zip(found, said):
            [scene] = document.meta["scenes"]
            looks[word].append(set(scene.split(" on ")[0].split()))
        assert all(set.intersection(*seen) for seen in looks.values())
        assert said[::2] == [said[0]] * 6
        assert said[1::2] == [said[1]] * 6
        assert said[0] != said[1]
        meanings.add(tuple(said[:2]))
    assert len(meanings) > 15


def test_both_caption_styles_occur():
    kinds = collections.Counter(d.kind for d in SEEN["captions", "train"])
    assert min(kinds["short"], kinds["rich"]) > 50
    assert sum(kinds.values()) == 150
