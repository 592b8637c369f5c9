"""VILA's names lead to files and folders, and its targets are left alone."""

import json

import format_files
import list_files
import pytest

from data_pipelines.prepare.formats import inputs

TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
REGISTRY = """
llava:
  _target_: llava.data.LLaVADataset
  data_path: ../../a.json
  media_dir: ../../photos
other:
  _target_: os.system
  data_path: ../../b.jsonl
"""
MIXTURES = """
both: [llava, other]
deeper: [both]
twice: [llava, other*2]
part: [llava@good]
round: [round]
bad: {llava: 1}
"""


@pytest.fixture
def registry(tmp_path):
    """A registry laid out as in VILA, with two datasets of five conversations."""
    for name, write in ("a.json", format_files.as_array), ("b.jsonl", _lines):
        rows = [{"id": f"{name[0]}{n}", "conversations": TURNS} for n in range(5)]
        write(tmp_path / name, rows)
    (tmp_path / "photos").mkdir()
    list_files.write(tmp_path / "registry" / "mixtures.yaml", MIXTURES)
    return list_files.write(
        tmp_path / "registry" / "datasets" / "default.yaml", REGISTRY
    )


def _lines(path, rows):
    return format_files.as_lines(path, rows)


A, B = [f"a{n}" for n in range(5)], [f"b{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [("llava", A), ("other", B), ("llava,other", A + B), ("both", A + B),
     ("deeper", A + B)],
)  # fmt: skip
def test_names_of_datasets_and_mixtures(registry, names, expected):
    assert sorted(list_files.ids(f"{registry}#{names}")) == expected
    assert sorted(list_files.ids(f"vila:{registry}#{names}")) == expected


def test_pictures_lie_in_the_datasets_own_folder(registry):
    found = inputs.expand([f"{registry}#both"], "", "instructions")
    photos = registry.parent / "../../photos"
    assert [one.folder for one in found] == [str(photos), str(registry.parent)]
    found = inputs.expand([f"{registry}#both"], str(photos), "instructions")
    assert [one.folder for one in found] == [str(photos)] * 2


def test_a_subset_is_what_its_list_doesnt_name(registry):
    ignored = registry.parent / "good" / "llava.json"
    ignored.parent.mkdir()
    ignored.write_text(json.dumps([0, 3]))
    assert list_files.ids(f"{registry}#llava@good") == ["a1", "a2", "a4"]
    assert list_files.ids(f"{registry}#part") == ["a1", "a2", "a4"]


def test_mixtures_may_lie_beside_the_registry(registry):
    home = registry.parent.parent
    (home / "mixtures.yaml").rename(registry.parent / "mixtures.yaml")
    assert sorted(list_files.ids(f"{registry}#both")) == A + B
    (registry.parent / "mixtures.yaml").unlink()
    with pytest.raises(ValueError, match="has no dataset 'both': must be of llava, ot"):
        list_files.ids(f"{registry}#both")


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        ("", r"name those to read, as in .*default.yaml#NAME,NAME, of bad, both"),
        ("nothing", "has no dataset 'nothing': must be of bad, both, deeper, llava"),
        ("llava*2", r"llava\*2: repeats are shares of a mixture, and a corpus keeps"),
        ("twice", r"other\*2: .*prepare other to an --output of its own"),
        ("llava,llava", "a.json 2 times: equal documents are kept once"),
        ("llava@good", "good/llava.json is missing, the list to leave out"),
        ("round", "mixtures are nested more than 8 times"),
        ("bad", "mixture bad must be a list of names"),
    ],
)
def test_names_that_lead_nowhere_are_errors_of_one_line(registry, names, rule):
    with pytest.raises(ValueError, match=rule) as error:
        list_files.read(f"vila:{registry}#{names}" if names else f"vila:{registry}")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(registry))


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ({"_target_": "x"}, "x: data_path None must be a local path"),
        ({"data_path": "hf://a/b"}, "data_path 'hf://a/b' must be a local path"),
        ({"data_path": "a.json", "media_dir": "no"}, "media_dir .*no: no such folder"),
        ({"data_path": "no.json"}, "no.json: no such file of instructions"),
        ({"data_path": "a.pkl"}, "a.pkl: pickles are not read"),
        (["a.json"], "x is missing or no mapping"),
    ],
)
def test_entries_that_cant_be_read_are_errors(tmp_path, entry, rule):
    format_files.as_array(tmp_path / "a.json", [{"conversations": TURNS}])
    (tmp_path / "a.pkl").write_bytes(b"cos\nsystem\n.")
    path = list_files.write(tmp_path / "r.yaml", {"x": entry})
    with pytest.raises(ValueError, match=rule):
        list_files.read(f"vila:{path}#x")


def test_a_part_of_what_is_no_json_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        rows = [{"conversations": TURNS}]
        format_files.as_array(tmp_path / "in" / f"{name}.json", rows)
    list_files.write(tmp_path / "good" / "x.json", "[0]")
    path = list_files.write(tmp_path / "r.yaml", {"x": {"data_path": "in"}})
    with pytest.raises(ValueError, match=r"one entry names a.json and b.json: a part"):
        list_files.read(f"vila:{path}#x@good")
