"""Files of evaluation sets: every usual form gives its texts; bad ones are named."""

import gzip
import json

import PIL.Image
import pytest

from data_pipelines.prepare import evaluation_files


def _texts(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return evaluation_files.read([path]).texts


VQA = {
    "questions": [
        {"question_id": 1, "image_id": 2, "question": "What is it?"},
        {"question_id": 2, "image_id": 2, "question": "Where is it?"},
    ],
    "data_subtype": "val2014",
}
ANNOTATIONS = {
    "annotations": [
        {"answer_type": "other", "answers": [{"answer": "a cat"}, {"answer": "cat"}]}
    ]
}
KARPATHY = {"images": [{"filename": "a.jpg", "sentences": [{"raw": "A cat."}]}]}
LAVIS = [{"image": "a.jpg", "caption": ["A cat.", "Cats."]}]
SCIENCE = {"1": {"question": "Why?", "choices": ["x", "y"], "image": "a.png"}}
BY_ID = {"captions": {"12": "A cat.", "13": ["Cats."]}, "source": {"1": "web"}}
CHAT = [{"conversations": [{"from": "human", "value": "Why?"}]}]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (VQA, ("What is it?", "Where is it?")),
        (ANNOTATIONS, ("a cat", "cat")),
        (KARPATHY, ("A cat.",)),
        (LAVIS, ("A cat.", "Cats.")),
        (SCIENCE, ("Why?", "x", "y")),
        (CHAT, ("Why?",)),
        (BY_ID, ("A cat.", "Cats.")),
    ],
    ids=["vqa", "annotations", "karpathy", "lavis", "scienceqa", "llava", "by_id"],
)
def test_texts_of_usual_files_are_found_once(tmp_path, data, texts):
    assert _texts(tmp_path, "a.json", data) == texts
    line = json.dumps(data).encode()
    assert _texts(tmp_path, "a.jsonl", line + b"\n\n" + line + b"\r\n") == texts
    assert _texts(tmp_path, "a.jsonl.gz", gzip.compress(line)) == texts


def test_lines_of_text_are_texts(tmp_path):
    assert _texts(tmp_path, "a.txt", b"\xef\xbb\xbfone\n\n two \none\n") == (
        "one",
        "two",
    )


def test_images_are_found_at_any_depth_upright_and_with_their_own_digests(tmp_path):
    picture = PIL.Image.linear_gradient("L").convert("RGB")
    (tmp_path / "in").mkdir()
    (tmp_path / "note.txt").write_text("no image")
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "in" / "b.JPG", quality=95)
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    picture.rotate(90).save(tmp_path / "c.jpg", exif=turned, quality=95)
    looks = evaluation_files.read([tmp_path]).images
    assert len({look.digest for look in looks}) == 3
    a, c, b = (look.perceptual for look in looks)
    assert None not in (a, b, c)
    assert max((a ^ b).bit_count(), (a ^ c).bit_count()) <= 4


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"question\nwhy"),
        ("a.json", b"{"),
        ("a.json", b'{"id": 1}'),
        ("a.json", b"[" * 100_000),
        ("a.jsonl", b'{"text": "x"}\nno'),
        ("a.txt", b"\xff\xfe\x00"),
        ("a.txt", b"\n"),
        ("a.json.gz", b"no"),
    ],
)
def test_files_without_anything_to_look_for_are_named(tmp_path, name, data):
    with pytest.raises(ValueError, match=f"evaluation set .*{name}: "):
        _texts(tmp_path, name, data)


def test_missing_files_empty_folders_and_broken_images_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json"):
        evaluation_files.read([tmp_path / "none.json"])
    with pytest.raises(ValueError, match="nothing to look for"):
        evaluation_files.read([tmp_path])
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff no")
    with pytest.raises(ValueError, match=r"a\.jpg"):
        evaluation_files.read([tmp_path])
