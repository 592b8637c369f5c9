"""Folders and lists lead to their tars; a blend of several tells its weights."""

import json
import pathlib

import divided
import pytest
from tar_files import write

from data_pipelines.prepare.formats import energon, inputs
from data_pipelines.prepare.raw import Raw


def _captions(path, photos, texts):
    members = [
        member
        for i, text in enumerate(texts)
        for member in ((f"{i}.jpg", photos[i]), (f"{i}.txt", text.encode()))
    ]
    return write(path, members)


def _said(path, photos):
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "four"}]
    members = [("9.jpg", photos[3]), ("9.json", json.dumps(turns).encode())]
    return write(path, members)


def _dataset(folder, photos):
    """Two tars for training, one for validation, one that is left out."""
    for name in ("pretrain-0", "pretrain-1", "pretrain-2", "val"):
        _captions(folder / f"{name}.tar", photos, [f"{name} a", f"{name} b"])
    notes = folder / ".nv-meta"
    notes.mkdir()
    (notes / "split.yaml").write_text(
        "exclude: [pretrain-2.tar]\n"
        "split_parts:\n  train: ['pretrain-{0..2}.tar']\n  val: [val.tar]\n"
    )
    (notes / "dataset.yaml").write_text("__class__: CaptioningWebdataset\n")
    return folder


def _texts(path):
    units = energon.FORMAT.units(path, "")
    found = divided.of_units(energon.FORMAT, units)
    assert all(isinstance(f, Raw) for f in found)
    return [f.documents[0][-1].text for f in found]


def test_a_folder_gives_the_tars_of_its_training_split(tmp_path, photos):
    folder = _dataset(tmp_path / "cc3m", photos)
    assert energon.FORMAT.sniff(folder)
    expected = [f"pretrain-{i} {x}" for i in (0, 1) for x in "ab"]
    assert _texts(folder) == expected


BLEND = """
__module__: megatron.energon
__class__: Metadataset
splits:
  train:
    datasets:
      - {weight: 3, path: cc3m}
      - {weight: 1, path: inner.yaml}
      - {weight: 0, path: nowhere}
  val:
    datasets: [{weight: 1, path: cc3m, split_part: val}]
"""
INNER = """
__class__: MetadatasetV2
splits:
  train:
    blend:
      - {weight: 1, path: chat/0.tar}
      - {weight: 1, path: cc3m}
"""


def _blend(tmp_path, photos):
    folder = _dataset(tmp_path / "cc3m", photos)
    chat = _said(tmp_path / "chat" / "0.tar", photos)
    (tmp_path / "inner.yaml").write_text(INNER)
    path = tmp_path / "blend.yaml"
    path.write_text(BLEND)
    return path, folder, chat


def test_a_blend_of_several_is_refused_with_the_weights_of_a_mixture(tmp_path, photos):
    path, folder, chat = _blend(tmp_path, photos)
    assert energon.FORMAT.sniff(path)
    assert energon.weights(path) == {str(folder): 0.875, str(chat): 0.125}
    with pytest.raises(ValueError, match="blends 2 datasets") as error:
        list(energon.FORMAT.units(path, ""))
    told = str(error.value)
    assert f"prepare each ({folder}, {chat}) to an --output of its own" in told
    assert "mixture.weights=7,1;" in told
    assert "\n" not in told


def test_the_datasets_of_a_blend_may_be_named_one_by_one(tmp_path, photos):
    _, folder, chat = _blend(tmp_path, photos)
    assert len(_texts(folder)) == 4
    found = inputs.expand([f"energon:{folder}", f"{chat}"], corpus="instructions")
    units = [unit for file in found for unit in inputs.units(file)]
    names = [(pathlib.Path(unit.file).name, unit.format) for unit in units]
    assert names == [
        ("pretrain-0.tar", "webdataset"), ("pretrain-1.tar", "webdataset"),
        ("0.tar", "chat_tars"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "splits: {train: {datasets: [{weight: 0.579, path: cc3m}]}}",
        "splits: {train: {blend: [{path: cc3m}, {weight: 0, path: nowhere}]}}",
        "splits: {train: {path: cc3m}}",
        "splits: {train: {blend_epochized: [{repetitions: 3, path: cc3m}]}}",
    ],
)
def test_a_blend_of_one_dataset_gives_its_tars(tmp_path, photos, text):
    _dataset(tmp_path / "cc3m", photos)
    path = tmp_path / "blend.yaml"
    path.write_text(text)
    names = [tar.name for tar in energon.tars(path)]
    assert names == ["pretrain-0.tar", "pretrain-1.tar"]


def test_a_wids_list_names_tars_beside_it(tmp_path, photos):
    for i in range(2):
        _captions(tmp_path / f"0000{i}.tar", photos, [f"c{i}"])
    shards = [{"url": f"0000{i}.tar", "nsamples": 1, "filesize": 9} for i in (1, 0)]
    path = tmp_path / "wids-meta.json"
    path.write_text(json.dumps({"wids_version": 1, "shardlist": shards}))
    assert energon.FORMAT.sniff(path)
    assert _texts(path) == ["c1", "c0"]
    assert energon.FORMAT.sniff(tmp_path)
    assert _texts(tmp_path) == ["c1", "c0"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("splits: {train: {datasets: []}}", "must be a list of datasets"),
        ("splits: {val: {datasets: []}}", "splits: train is missing or no mapping"),
        ("splits: {train: {datasets: [{weight: x, path: a}]}}", "must be a number"),
        ("splits: {train: {datasets: [{weight: -1, path: a}]}}", "not be negative"),
        ("splits: {train: {datasets: [{weight: 0, path: a}]}}", "weights sum to 0"),
        ("splits: {train: {datasets: [{path: 's3://a/b'}]}}", "must be a local path"),
        ("splits: {train: {datasets: [{path: b.yaml}]}}", "nested more than"),
        ("splits: {train: {datasets: [{path: nowhere}]}}", "nowhere: is missing"),
        ("splits: [", "can't be read"),
        ("!!python/object/apply:os.system ['true']", "can't be read"),
        ("splits: {train: {datasets: [{path: a, split_part: val}]}}", "only train"),
    ],
)
def test_a_blend_that_cannot_be_read_is_an_error_of_one_line(tmp_path, text, rule):
    path = tmp_path / "b.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rule) as error:
        energon.tars(path)
    assert "\n" not in str(error.value)


def test_a_tar_that_is_missing_or_far_is_named(tmp_path):
    path = tmp_path / "wids-meta.json"
    rules = {
        "0.tar": "0.tar, which is missing",
        "https://a/0.tar": "is not local: download it first",
    }
    for url, rule in rules.items():
        path.write_text(json.dumps({"shardlist": [{"url": url}]}))
        with pytest.raises(ValueError, match=rule):
            energon.tars(path)


def test_single_samples_cannot_be_excluded(tmp_path, photos):
    folder = _dataset(tmp_path / "cc3m", photos)
    text = "exclude: [pretrain-0.tar/1]\nsplit_parts: {train: [pretrain-0.tar]}\n"
    (folder / ".nv-meta" / "split.yaml").write_text(text)
    with pytest.raises(ValueError, match="only whole tars can be"):
        energon.tars(folder)
