"""COCO's and Karpathy's files: each image with its captions, in one Raw."""

import json

import format_files
import pytest

IMAGES = [
    {"id": 9, "file_name": "COCO_9.jpg", "height": 4, "coco_url": "http://c/9"},
    {"id": 4, "file_name": "COCO_4.jpg", "height": 5},
]
ANNOTATIONS = [
    {"id": 1, "image_id": 4, "caption": "four"},
    {"id": 2, "image_id": 9, "caption": "nine "},
    {"id": 3, "image_id": 4, "caption": "vier"},
]


def _write(path, images, annotations, order=("info", "images", "annotations")):
    parts = {"info": {"images": 3}, "images": images, "annotations": annotations}
    path.write_text(json.dumps({key: parts[key] for key in order}))
    return path


@pytest.mark.parametrize(
    "order", [("info", "images", "annotations"), ("annotations", "info", "images")]
)
def test_captions_find_their_image_in_whatever_order(tmp_path, order):
    path = _write(tmp_path / "a.json", IMAGES, ANNOTATIONS, order)
    raws, rejects = format_files.read(path, "coco")
    shown = [[format_files.shown(d) for d in raw.documents] for raw in raws]
    assert shown == [
        [["<COCO_9.jpg>", "nine"]],
        [["<COCO_4.jpg>", "four"], ["<COCO_4.jpg>", "vier"]],
    ]
    assert raws[0].documents[0][0].url == "http://c/9"
    assert raws[1].meta == {"id": 4, "height": 5}
    assert not rejects


def test_an_images_licence_is_named(tmp_path):
    images = [i | {"license": n} for n, i in enumerate(IMAGES, start=1)]
    licences = [{"id": 1, "name": "CC BY 2.0", "url": "http://l"}]
    path = tmp_path / "a.json"
    parts = {"images": images, "licenses": licences, "annotations": ANNOTATIONS}
    path.write_text(json.dumps(parts))
    raws, _ = format_files.read(path, "coco")
    assert [raw.licence for raw in raws] == ["CC BY 2.0", "2"]


def test_what_doesnt_fit_together_in_coco_is_told(tmp_path):
    images = [*IMAGES, {"id": 5, "file_name": "5.jpg"}, {"id": None}, 3]
    annotations = [*ANNOTATIONS, {"image_id": 77, "caption": "whose"},
                   {"caption": "none"}, {"image_id": 9, "caption": " "}]  # fmt: skip
    path = _write(tmp_path / "a.json", images, annotations)
    raws, rejects = format_files.read(path, "coco")
    assert len(raws) == 2
    assert sorted(format_files.reasons(rejects)) == [
        (1, "empty_caption", "caption"),
        (3, "missing_field", "record"),
        (4, "misaligned", "caption"),
        (4, "missing_field", "record"),
        (5, "malformed_json", "record"),
        (5, "missing_field", "record"),
    ]


def test_a_cut_coco_file_is_told(tmp_path):
    path = _write(tmp_path / "a.json", IMAGES, ANNOTATIONS)
    path.write_text(path.read_text()[:-30])
    _, rejects = format_files.read(path, "coco")
    assert ("broken_file", "rest of the file") in {(r.reason, r.lost) for r in rejects}


def test_karpathys_sentences_are_captions_and_the_split_can_be_filtered_by(tmp_path):
    sentences = [{"raw": "One.", "tokens": ["one"]}, {"raw": " Two."}, {"raw": ""}]
    image = {"filepath": "val2014", "filename": "a.jpg", "split": "restval",
             "cocoid": 3, "sentids": [1], "sentences": sentences}  # fmt: skip
    flickr = {"filename": "b.jpg", "split": "train", "sentences": [{"raw": "Three."}]}
    bad = {"filename": "c.jpg", "sentences": None}
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": [image, flickr, bad], "dataset": "coco"}))
    raws, rejects = format_files.read(path, "karpathy")
    assert [[format_files.shown(d) for d in raw.documents] for raw in raws] == [
        [["<val2014/a.jpg>", "One."], ["<val2014/a.jpg>", "Two."]],
        [["<b.jpg>", "Three."]],
    ]
    assert [raw.scores["split"] for raw in raws] == ["restval", "train"]
    assert format_files.reasons(rejects) == [
        (1, "empty_caption", "caption"),
        (3, "missing_field", "record"),
    ]
