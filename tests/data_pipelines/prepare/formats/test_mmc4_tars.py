"""MMC4 pages in tars have their pictures inside."""

import base64
import json

import divided
from tar_files import write

from data_pipelines.prepare.formats import chat_tars, mmc4_tars, webdataset


def _image(data, index):
    coded = base64.b64encode(data).decode()
    return {"image_name": "x.jpg", "raw_url": "http://a/x.jpg", "image_base64": coded,
            "matched_text_index": index, "matched_sim": 0.3}  # fmt: skip


def test_pictures_stand_before_their_sentences(tmp_path, photos):
    page = {
        "text_list": ["one.", "two.", "three."],
        "image_info": [_image(photos[0], 2), _image(photos[1], 0)],
        "similarity_matrix": [[0, 0, 1], [1, 0, 0]],
        "url": "http://a",
    }
    bad = {**page, "image_info": [_image(photos[0], 7), _image(photos[1], 1)]}
    members = [("0.json", json.dumps(page).encode()),
               ("1.json", json.dumps(bad).encode()),
               ("2.json", b"{"), ("3.txt", b"x")]  # fmt: skip
    path = write(tmp_path / "000000.tar", members)
    raws, rejects = divided.of_file(mmc4_tars.FORMAT, path)
    assert [divided.shape(r.documents[0]) for r in raws] == [
        [photos[1], "one. two.", photos[0], "three."],
        ["one.", photos[1], "two. three."],
    ]
    assert raws[0].url == "http://a"
    assert raws[0].documents[0][0].url == "http://a/x.jpg"
    assert [(r.number, r.reason, r.lost) for r in rejects] == [
        (2, "misaligned", "image"), (3, "malformed_json", "record"),
        (4, "missing_field", "record"),
    ]  # fmt: skip
    assert not chat_tars.FORMAT.sniff(path)
    assert not webdataset.FORMAT.sniff(path)
