"""Datasets that tfds prepares are read without TensorFlow."""

import importlib
import io
import json
import sys

import divided
import pytest

from data_pipelines.prepare.formats import tfds
from data_pipelines.prepare.formats.base import Settings
from data_pipelines.prepare.raw import Raw

pytest.importorskip("importlib_resources")
library = pytest.importorskip("tensorflow_datasets")

pytestmark = pytest.mark.extra

COUNT = 7


class Pets(library.core.GeneratorBasedBuilder):
    """COUNT pictures for training and as many for testing."""

    VERSION = library.core.Version("1.0.0")

    def __init__(self, features, example, **options):
        self._features, self._example = features, example
        super().__init__(**options)

    def _info(self):
        kinds = library.features
        features = {"image": kinds.Image(), **self._features(kinds)}
        return library.core.DatasetInfo(
            builder=self, features=kinds.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(9)}

    def _generate_examples(self, first):
        for i in range(first, first + COUNT):
            yield i, self._example(i)


def _prepare(folder, features, example):
    """The dataset, written by tfds itself."""
    Pets(
        features, example, data_dir=folder, file_format="array_record"
    ).download_and_prepare()
    return folder / "pets" / "1.0.0"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, photos):
    def example(i):
        return {
            "image": io.BytesIO(photos[i % 6]),
            "captions": [f"{i} one", "" if i == 3 else f"{i} two"],
            "name": f"pet {i}",
        }

    return _prepare(
        tmp_path_factory.mktemp("tfds"),
        lambda f: {"captions": f.Sequence(f.Text()), "name": f.Text()},
        example,
    )


def test_pictures_come_as_they_were_encoded_with_all_captions(dataset, photos):
    raws, (lost,) = divided.of_file(tfds.FORMAT, dataset)
    assert "tensorflow" not in sys.modules
    found = {raw.scores["name"]: raw for raw in raws}
    assert sorted(found) == [f"pet {i}" for i in range(COUNT)]
    for i in range(COUNT):
        shapes = [divided.shape(d) for d in found[f"pet {i}"].documents]
        both = [[photos[i % 6], f"{i} one"], [photos[i % 6], f"{i} two"]]
        assert shapes == (both[:1] if i == 3 else both)
    assert (lost.reason, lost.lost) == ("empty_caption", "caption")


def test_the_same_records_as_tfds_itself_reads(dataset):
    raws, _ = divided.of_file(tfds.FORMAT, dataset)
    builder = library.builder_from_directory(str(dataset))
    source = builder.as_data_source("train")
    names = [source[i]["name"].decode() for i in range(len(source))]
    assert [raw.scores["name"] for raw in raws] == names


@pytest.mark.parametrize("most", [1, 3, 100])
def test_any_division_gives_the_same_records_in_the_same_order(dataset, most):
    units = list(tfds.units(dataset, "", most))
    assert len(units) == -(-COUNT // most)
    found = divided.of_units(tfds.FORMAT, units)
    whole = divided.of_units(tfds.FORMAT, tfds.units(dataset, ""))
    assert found == whole
    assert [r.number for r in found if isinstance(r, Raw)] == list(range(1, COUNT + 1))


def test_another_feature_may_be_the_caption_but_must_exist(dataset):
    raws, _ = divided.of_file(tfds.FORMAT, dataset, Settings(text_key="name"))
    assert {raw.documents[0][1].text for raw in raws} == {
        f"pet {i}" for i in range(COUNT)
    }
    with pytest.raises(ValueError, match="no feature alt, has"):
        divided.of_file(tfds.FORMAT, dataset, Settings(text_key="alt"))


def test_captions_with_ids_as_coco_has_them(tmp_path, photos):
    path = _prepare(
        tmp_path,
        lambda f: {"captions": f.Sequence({"text": f.Text(), "id": f.Text()})},
        lambda i: {
            "image": io.BytesIO(photos[0]),
            "captions": [{"text": f"{i} {x}", "id": x} for x in "ab"],
        },
    )
    raws, _ = divided.of_file(tfds.FORMAT, path)
    texts = sorted(d[1].text for raw in raws for d in raw.documents)
    assert texts == [f"{i} {x}" for i in range(COUNT) for x in "ab"]


def _copy(dataset, folder, **changes):
    folder.mkdir()
    for name in ("dataset_info.json", "features.json"):
        info = json.loads((dataset / name).read_text())
        if name == "dataset_info.json":
            info |= changes
        (folder / name).write_text(json.dumps(info))
    return folder


def test_what_tensorflow_alone_can_read_is_an_error_with_the_way_out(dataset, tmp_path):
    path = _copy(dataset, tmp_path / "a", fileFormat="tfrecord")
    with pytest.raises(ValueError, match="--out_file_format=array_record"):
        list(tfds.units(path, ""))
    path = _copy(dataset, tmp_path / "b", splits=[{"name": "test"}])
    with pytest.raises(ValueError, match="needs the split train, has test"):
        list(tfds.units(path, ""))
    path = _copy(dataset, tmp_path / "c")
    with pytest.raises(ValueError, match="no file of the split train"):
        list(tfds.units(path, ""))


def test_without_tfds_the_error_says_what_to_install(dataset, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    tfds._features.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'mmjax\[tfds\]'"):
        list(tfds.units(dataset, ""))
