"""Pictures inside of parquet come with their captions."""

import importlib

import divided
import pytest

from data_pipelines.prepare.formats import captions_parquet, url_parquet

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")


@pytest.mark.parametrize("key", ["caption", "text", "captions"])
@pytest.mark.parametrize("struct", [True, False])
def test_a_struct_or_plain_bytes_with_one_caption_or_several(
    tmp_path, photos, key, struct
):
    captions = ["a dog", "a cat"] if key == "captions" else "a dog"
    image = {"bytes": photos[0], "path": None} if struct else photos[0]
    row = {"image": image, key: captions, "url": "http://a", "similarity": 0.25}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    assert not url_parquet.FORMAT.sniff(path)
    (raw,), _ = divided.of_file(captions_parquet.FORMAT, path)
    expected = ["a dog", "a cat"] if key == "captions" else ["a dog"]
    assert [divided.shape(d) for d in raw.documents] == [
        [photos[0], caption] for caption in expected
    ]
    assert (raw.url, raw.scores) == ("http://a", {"similarity": 0.25})


def test_paths_are_looked_for_in_the_folder_and_empty_captions_told(tmp_path):
    rows = [{"image": "a.jpg", "caption": "a"}, {"image": "b.jpg", "caption": ""}]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    (raw,), (lost,) = divided.of_file(captions_parquet.FORMAT, path)
    assert divided.shape(raw.documents[0]) == ["a.jpg", "a"]
    assert (lost.number, lost.reason) == (2, "empty_caption")
