"""Tars give the same samples however divided; a broken one gives what came before."""

import io
import tarfile

import divided
import pytest
from tar_files import room, write

from data_pipelines.prepare.formats import tars, webdataset
from data_pipelines.prepare.raw import Raw, Reject, Unit


def _samples(photos, count=9):
    for i in range(count):
        members = [
            (f"{i:09d}.jpg", photos[i % len(photos)]),
            (f"{i:09d}.txt", b"caption %d" % i),
            (f"{i:09d}.json", b'{"width": %d}' % i),
        ]
        yield from members[i % 3 :] + members[: i % 3]


def _whole(path):
    return divided.of_file(webdataset.FORMAT, path)


@pytest.mark.parametrize("least", [1, 5000, 40_000])
def test_any_division_gives_the_same_samples_in_the_same_order(tmp_path, photos, least):
    path = write(tmp_path / "a.tar", list(_samples(photos)))
    raws, rejects = _whole(path)
    assert not rejects
    assert [r.documents[0][1].text for r in raws] == [f"caption {i}" for i in range(9)]
    assert [r.number for r in raws] == list(range(1, 10))
    units = list(tars.units(path, str(tmp_path), "webdataset", least))
    assert [u.start for u in units[1:]] == [u.stop for u in units[:-1]]
    assert divided.of_units(webdataset.FORMAT, units) == raws
    assert least > 1 or len(units) >= 9


def test_members_of_a_sample_may_have_any_order(tmp_path, photos):
    members = [("a.json", b'{"width": 3}'), ("a.txt", b"one"), ("a.jpg", photos[0]),
               ("b.jpg", photos[1]), ("b.txt", b"two")]  # fmt: skip
    raws, _ = _whole(write(tmp_path / "a.tar", members))
    assert [divided.shape(r.documents[0]) for r in raws] == [
        [photos[0], "one"], [photos[1], "two"]
    ]  # fmt: skip
    assert raws[0].scores == {"width": 3, "key": "a"}


def test_a_tar_that_is_cut_off_gives_what_is_before_and_the_byte(tmp_path, photos):
    members = list(_samples(photos, 4))
    path = write(tmp_path / "a.tar", members)
    whole, _ = _whole(path)
    begins = [0]
    for _, data in members:
        begins.append(begins[-1] + room(data))
    data = path.read_bytes()
    for cut in (begins[8] + 600, begins[8] + 100, begins[3] + 700, begins[11] + 513):
        path.write_bytes(data[:cut])
        raws, rejects = _whole(path)
        member = max(i for i, begin in enumerate(begins) if begin <= cut)
        assert raws == whole[: member // 3]
        (reject,) = rejects
        assert (reject.reason, reject.lost) == ("broken_file", "rest of the file")
        assert reject.number == len(raws) + 1
        assert f"byte {begins[member]}:" in reject.detail
        units = list(tars.units(path, str(tmp_path), "webdataset", 1))
        assert divided.of_units(webdataset.FORMAT, units) == [*raws, reject]


def test_garbage_between_members_is_told_not_taken_for_the_end(tmp_path, photos):
    members = list(_samples(photos, 3))
    path = write(tmp_path / "a.tar", members)
    data = bytearray(path.read_bytes())
    at = sum(room(d) for _, d in members[:3])
    data[at : at + 512] = b"\x07" * 512
    path.write_bytes(data)
    _, rejects = _whole(path)
    assert [r.detail.split(":")[0] for r in rejects] == [f"byte {at}"]


def test_a_tar_without_end_blocks_is_whole(tmp_path, photos):
    members = list(_samples(photos, 3))
    path = write(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes()[: sum(room(data) for _, data in members)])
    raws, rejects = _whole(path)
    assert (len(raws), rejects) == (3, [])


def test_names_are_keys_and_never_paths(tmp_path, photos):
    members = [("/etc/x.jpg", photos[0]), ("/etc/x.txt", b"one"),
               ("../../y.jpg", photos[1]), ("../../y.txt", b"two"),
               ("d/z.jpg", photos[2]), ("d/z.txt", b"three")]  # fmt: skip
    raws, rejects = _whole(write(tmp_path / "a.tar", members))
    assert not rejects
    assert [r.scores["key"] for r in raws] == ["/etc/x", "../../y", "d/z"]
    assert {part.path for r in raws for part in r.documents[0][:1]} == {""}
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_links_folders_and_notes_are_no_samples(tmp_path, photos):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l.jpg", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, data in (("d/.nv-meta/split.yaml", b"x"), ("._a.jpg", b"x"),
                           ("a.jpg", photos[0]), ("a.txt", b"one")):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    raws, rejects = _whole(path)
    assert ([r.scores["key"] for r in raws], rejects) == (["a"], [])


def test_a_member_that_is_there_twice_makes_a_bad_sample(tmp_path, photos):
    members = [("a.jpg", photos[0]), ("a.jpg", photos[1]), ("a.txt", b"one"),
               ("b.jpg", photos[1]), ("b.txt", b"two")]  # fmt: skip
    raws, (bad,) = _whole(write(tmp_path / "a.tar", members))
    assert (bad.number, bad.reason) == (1, "malformed_sample")
    assert [r.number for r in raws] == [2]


def test_only_one_sample_is_held(tmp_path, photos, monkeypatch):
    held = []
    monkeypatch.setattr(tars, "_split", lambda name: (held.append(name), _key(name))[1])
    path = write(tmp_path / "a.tar", list(_samples(photos, 5)))
    unit = Unit(str(path), "webdataset", "", 0, path.stat().st_size, 1)
    first = next(tars.samples(unit))
    assert set(first.members) == {"jpg", "txt", "json"}
    assert len(held) == 4  # those of the first sample, and one that ends it


def _key(name):
    return name.split(".")[0], name.split(".")[1]


def test_a_file_that_is_no_tar_is_an_error(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(ValueError, match=r"a\.tar: byte 0: not a whole tar"):
        webdataset.FORMAT.sniff(path)


def test_long_names_of_gnu_and_pax_tars_divide_well(tmp_path, photos):
    path, key = tmp_path / "a.tar", "k" * 150
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(path, "w", format=kind) as tar:
            for i in range(3):
                for name, data in (("jpg", photos[i]), ("txt", b"c%d" % i)):
                    info = tarfile.TarInfo(f"{key}{i}.{name}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        units = list(tars.units(path, "", "webdataset", 1))
        found = divided.of_units(webdataset.FORMAT, units)
        assert not [f for f in found if isinstance(f, Reject)]
        captions = [f.documents[0][1].text for f in found if isinstance(f, Raw)]
        assert captions == ["c0", "c1", "c2"]
        assert len(units) == 3


def test_what_follows_the_end_of_a_tar_is_told(tmp_path, photos):
    members = list(_samples(photos, 2))
    path = write(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes() * 2)
    raws, (reject,) = _whole(path)
    assert len(raws) == 1  # the last may go on where the tar does
    assert f"byte {sum(room(data) for _, data in members)}: the tar" in reject.detail
