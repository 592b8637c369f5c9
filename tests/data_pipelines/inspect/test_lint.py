"""A clean corpus is silent; each kind of damage is one line naming shard and record."""

import hashlib
import io
import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest
import small_world
from array_record.python import array_record_module

from data_pipelines import index, records, shard_files, shards
from data_pipelines.inspect import lint
from data_pipelines.records import Document, Image, Text

FOLDER = "interleaved/train"


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return small_world.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(clean, tmp_path):
    """A copy to damage."""
    shutil.copytree(clean.root, tmp_path / "world")
    return clean._replace(root=str(tmp_path / "world"))


def problems(world, every: int = 1, workers: int = 1) -> list[str]:
    return list(lint.problems(world.root, world.tokenizer, every, workers))


def folder(world) -> pathlib.Path:
    return pathlib.Path(world.root) / FOLDER


def shard(world, number: int = 1) -> pathlib.Path:
    return folder(world) / shards.shard_name(number, 3)


def stored(path: pathlib.Path) -> list[bytes]:
    reader = shard_files.open_shard(path)
    return [reader.read(n, n + 1)[0] for n in range(reader.num_records())]


def edit_manifest(world, change) -> None:
    path = folder(world) / shards.MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite(world, found: list[bytes], indexed: bool = True) -> None:
    """Replaces shard 1 by these records, its hash in the manifest and its index."""
    path = shard(world)
    part = path.parent / "part"
    writer = array_record_module.ArrayRecordWriter(str(part), "group_size:1")
    for record in found:
        writer.write(record)
    writer.close()
    part.replace(path)
    info = {"bytes": path.stat().st_size, "sha256": sha256(path), "records": len(found)}

    def change(manifest):
        manifest["shards"][1] |= info
        for name in ("bytes", "records"):
            manifest[name] = sum(i[name] for i in manifest["shards"])

    edit_manifest(world, change)
    if indexed:
        index.build_shard(folder(world), 1, world.tokenizer)


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def with_image(found: list[bytes]) -> tuple[int, int, Document]:
    """(record, segment, document) of the first image."""
    for place, record in enumerate(found):
        document = records.decode(record)
        for number, segment in enumerate(document.segments):
            if isinstance(segment, Image):
                return place, number, document
    raise AssertionError("no image")


def edit_index(world, change) -> None:
    path = next(folder(world).glob("shard-00001*.npz"))
    with np.load(path) as file:
        columns = {name: file[name] for name in file.files}
    change(columns)
    with path.open("wb") as file:
        np.savez(file, **columns)


def test_a_clean_corpus_is_silent_by_any_number_of_workers(clean):
    assert problems(clean) == []
    assert problems(clean, every=5, workers=2) == []


def test_a_flipped_byte_is_found_by_hash_and_by_record(world):
    path = shard(world)
    data = bytearray(path.read_bytes())
    records_before = len(stored(path))
    data[3000] ^= 255
    path.write_bytes(data)
    found = problems(world)
    assert found[0].startswith(f"{path}: sha256 is ")
    corrupt = [line for line in found if "Corrupted" in line]
    assert len(corrupt) >= 1
    assert all(line.startswith(f"{path}: record ") for line in corrupt)
    assert len(found) < records_before + 6
    assert all("\n" not in line for line in found)


def test_truncated_missing_and_stray_files_are_named(world):
    data = shard(world).read_bytes()
    shard(world, 0).write_bytes(data[:5000])
    shard(world, 2).unlink()
    stray = folder(world) / "shard-00003-of-00003.array_record"
    stray.write_bytes(data)
    found = problems(world)
    assert f"{stray}: not in the manifest" in found
    assert f"{shard(world, 2)}: missing, but the manifest lists it" in found
    first = [line for line in found if line.startswith(str(shard(world, 0)))]
    assert [": 5000 bytes" in first[0], ": sha256 is " in first[1]] == [True, True]
    assert first[2].endswith("can't be read as an ArrayRecord file")
    assert not any(line.startswith(f"{shard(world, 1)}:") for line in found)


@pytest.mark.parametrize("name", ["records", "images", "characters"])
def test_counts_that_the_manifest_has_wrong(world, name):
    def change(manifest):
        manifest["shards"][1][name] += 1
        manifest[name] += 1

    edit_manifest(world, change)
    found = problems(world)
    assert len(found) == 1
    assert found[0].startswith(f"{shard(world)}: ")
    assert name in found[0]


def test_totals_and_labels_that_the_manifest_has_wrong(world):
    def change(manifest):
        manifest["images"] += 1
        manifest["shards"][1]["kinds"] = {"other": 3}

    edit_manifest(world, change)
    found = problems(world)
    path = folder(world) / shards.MANIFEST
    assert found[0].startswith(f"{path}: images is ")
    assert found[1].startswith(f"{path}: kinds are ")
    assert found[2].startswith(f"{shard(world)}: kinds counted ")
    assert len(found) == 3


def test_a_manifest_that_lacks_an_entry_is_named(world):
    edit_manifest(world, lambda manifest: manifest["shards"][0].pop("sha256"))
    path = folder(world) / shards.MANIFEST
    assert problems(world) == [f"{path}: not a manifest (KeyError('sha256'))"]


def test_a_manifest_that_is_none_hides_no_other_folder(world):
    (folder(world) / shards.MANIFEST).write_text("{}")
    other = pathlib.Path(world.root) / "text/train" / shards.shard_name(0, 3)
    other.unlink()
    found = problems(world)
    assert found[0].startswith(f"{folder(world) / shards.MANIFEST}: not a manifest")
    assert found[1:] == [f"{other}: missing, but the manifest lists it"]


def test_records_out_of_order_or_in_the_wrong_shard(world):
    own = stored(shard(world))
    rewrite(world, [own[1], own[0], *own[2:]])
    (line,) = problems(world)
    assert line.startswith(f"{shard(world)}: record 1: id ")
    assert line.endswith("isn't larger than the one before")
    stranger = Document((Text("from elsewhere"),))
    number = shards.shard_of(records.document_id(stranger), 3)
    while number == 1:
        stranger = Document((Text(stranger.segments[0].text + "!"),))
        number = shards.shard_of(records.document_id(stranger), 3)
    rewrite(world, [records.encode(stranger), *own[1:]])
    found = [line for line in problems(world) if "belongs" in line]
    key = records.document_id(stranger).hex()
    words = f"record 0: id {key} belongs in shard {number}"
    assert found == [f"{shard(world)}: {words}"]


def test_a_record_that_is_none(world):
    own = stored(shard(world))
    rewrite(world, [*own[:2], b"\x09not a record", *own[3:]], indexed=False)
    found = problems(world)
    line = f"{shard(world)}: record 2: record version is 9: this program reads 1"
    assert line in found


def cut_off(image: Image) -> Image:
    return image._replace(data=image.data[: len(image.data) // 2])


def no_image(image: Image) -> Image:
    return image._replace(data=b"no image at all")


def other_size(image: Image) -> Image:
    return image._replace(width=image.width + 1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_off, "an image that can't be decoded whole"),
        (no_image, "an image that can't be decoded whole"),
        (other_size, "an image of {width} x {height}, said to be {wider} x {height}"),
    ],
)
def test_images_that_are_damaged_or_of_another_size(world, damage, words):
    own = stored(shard(world))
    place, number, document = with_image(own)
    image = document.segments[number]
    assert isinstance(image, Image)
    segments = list(document.segments)
    segments[number] = damage(image)
    own[place] = records.encode(document._replace(segments=tuple(segments)))
    rewrite(world, own)
    words = words.format(width=image.width, height=image.height, wider=image.width + 1)
    line = f"{shard(world)}: record {place}: segment {number}: {words}"
    found = problems(world)
    assert line in found
    # The document's content changed, so its id may be out of place as well.
    assert all(" id " in other for other in found if other != line)


def test_a_large_photo_cut_off_late_is_found(world):
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    pixels_hwc = rng.integers(0, 256, (400, 600, 3), np.uint8)
    PIL.Image.fromarray(pixels_hwc).save(out, "JPEG")
    for data, bad in ((out.getvalue(), 0), (out.getvalue()[:-3000], 1)):
        rewrite(world, [records.encode(Document((Image(data, 600, 400),)))])
        lines = [line for line in problems(world) if "decoded whole" in line]
        assert len(lines) == bad


def plus(name, amount):
    def change(columns):
        place = int(np.flatnonzero(columns["image"] == (name == "width"))[0])
        columns[name][place] = not columns[name][place] if amount is None else amount

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (plus("tokens", 999), "its index says tokens of its segments is "),
        (plus("loss", None), "its index says loss of its segments is "),
        (plus("width", 999), "its index says width of its segments is "),
        (lambda c: c.update(kinds=np.array(["other"])), "its index says kind 'other'"),
    ],
)
def test_an_index_that_says_something_else(world, change, words):
    edit_index(world, change)
    found = problems(world)
    assert found
    assert all(words in line for line in found)
    assert all(line.startswith(f"{shard(world)}: record ") for line in found)


def test_an_index_that_is_missing_short_or_of_another_shard(world):
    path = next(folder(world).glob("shard-00001*.npz"))
    whole = path.read_bytes()
    edit_index(world, lambda c: c.update(shard=np.array("0" * 64)))
    assert problems(world) == [
        f"{path}: index of another shard, delete it and index again"
    ]
    path.write_bytes(whole)
    edit_index(world, lambda c: c.update(segments=c["segments"][:-1]))
    (line,) = problems(world)
    assert line.startswith(f"{shard(world)}: its index has ")
    path.unlink()
    (line,) = problems(world)
    assert "shards have no index" in line


def test_tokens_are_counted_again_in_a_sample_or_all(world):
    path = shard(world)
    last = len(stored(path)) - 1

    def change(columns):
        starts = np.concatenate([[0], np.cumsum(columns["segments"])])
        texts = np.flatnonzero(~columns["image"][starts[last] :]) + starts[last]
        columns["tokens"][texts[0]] += 1

    edit_index(world, change)
    assert last > 0
    (line,) = problems(world, every=1)
    assert line.startswith(f"{path}: record {last}: its index says ")
    assert problems(world, every=last + 1) == []


def test_a_shard_with_very_many_problems_is_summed_up(world, monkeypatch):
    monkeypatch.setattr(lint, "LINES", 3)
    rewrite(world, [b"\x09"] * 10, indexed=False)
    found = problems(world)
    assert len(found) == 4
    assert found[-1].startswith(f"{shard(world)}: ")
    assert found[-1].endswith(" problems more")
