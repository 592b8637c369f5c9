"""LLaVA-NeXT's mixtures read of each file what their strategy says."""

import gzip
import json

import format_files
import list_files
import pytest

from data_pipelines.prepare.formats import inputs

TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


def _rows(name, count=10):
    return [{"id": f"{name}{n}", "conversations": TURNS} for n in range(count)]


@pytest.fixture
def home(tmp_path):
    """Files of ten conversations, in the spellings of JSON."""
    format_files.as_array(tmp_path / "a.json", _rows("a"))
    format_files.as_array(tmp_path / "z.json", _rows("z"))
    format_files.as_lines(tmp_path / "b.jsonl", _rows("b"))
    packed = "".join(json.dumps(row) + "\n" for row in _rows("c")).encode()
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(packed))
    return tmp_path


def _mixture(home, *datasets):
    return list_files.write(home / "mix" / "m.yaml", {"datasets": list(datasets)})


def test_each_file_gives_its_part_in_order(home):
    path = list_files.write(
        home / "mix" / "m.yaml",
        f"""
datasets:
  - json_path: ../a.json
    sampling_strategy: "first:25%"
  - json_path: {home}/b.jsonl
    sampling_strategy: end:3   # an absolute path
  - {{json_path: ../c.jsonl.gz}}
""",
    )
    expected = ["a0", "a1", "a2", "b7", "b8", "b9", *(f"c{n}" for n in range(10))]
    assert sorted(list_files.ids(path)) == expected
    assert sorted(list_files.ids(f"llava_mixture:{path}")) == expected


def test_a_random_part_is_the_same_every_time_and_its_seed_another(home):
    def drawn(seed):
        entry = {"json_path": "../a.json", "sampling_strategy": "random:4"}
        return list_files.ids(_mixture(home, entry | seed))

    first = drawn({})
    assert len(first) == 4
    assert first == drawn({}) == drawn({"seed": 0})
    assert {tuple(drawn({"seed": seed})) for seed in range(9)} != {tuple(first)}


def test_a_brace_list_names_several_files(home):
    path = _mixture(home, {"json_path": f"{home}/{{a,z}}.json"})
    assert len(list_files.ids(path)) == 20
    command = f"{home}/{{a,z}}.json"  # LLaVA-NeXT's own --data_path
    assert len(list_files.ids(command)) == 20


def test_every_file_is_of_its_own_format(home):
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    format_files.as_lines(home / "d.jsonl", [{"id": "d0", "messages": chat}])
    path = _mixture(home, {"json_path": "../d.jsonl"}, {"json_path": "../a.json"})
    found = inputs.expand([str(path)], "", "instructions")
    assert [one.format for one in found] == ["llava", "chat"]


def test_pictures_lie_beside_the_list_or_where_the_user_says(home):
    path = _mixture(home, {"json_path": "../a.json"})
    (beside,) = inputs.expand([str(path)], "", "instructions")
    assert beside.folder == str(path.parent)
    (said,) = inputs.expand([str(path)], str(home), "instructions")
    assert said.folder == str(home)


def test_parts_of_a_file_that_overlap_are_two_inputs(home):
    parts = [
        {"json_path": "../a.json", "sampling_strategy": part}
        for part in ("first:2", "end:2")
    ]
    assert list_files.ids(_mixture(home, *parts)) == ["a8", "a9", "a0", "a1"]


A = {"json_path": "../a.json"}


@pytest.mark.parametrize(
    ("datasets", "rule"),
    [
        ([A | {"sampling_strategy": "first:0"}], "dataset 1: sampling_strategy 'first"),
        ([A | {"sampling_strategy": "middle:3"}], "must be all, or first, end or rand"),
        ([A, A | {"sampling_strategy": None}], "dataset 2: sampling_strategy 'None'"),
        ([A | {"seed": "x"}], "dataset 1: seed 'x' must be an integer"),
        ([A, {"path": "x"}], "dataset 2: json_path None must be a local path"),
        ([{"json_path": "s3://b/a.json"}], "'s3://b/a.json' must be a local path"),
        ([{"json_path": "../x.json"}], r"x.json: no such file of instructions"),
        ([{"json_path": "../{a,x}.json"}], "1 of 2 files are missing, first"),
        ([{"json_path": "a.parquet"}], "json_path a.parquet: must be .json or .jsonl"),
        ([A, "b"], "dataset 2 is missing or no mapping"),
        ([A, A], "a.json 2 times: equal documents are kept once"),
        ([{"json_path": "../{a,z}.json", "sampling_strategy": "first:3"}],
         "one entry names a.json and z.json: a part"),
    ],
)  # fmt: skip
def test_what_cant_be_read_is_an_error_of_one_line(home, datasets, rule):
    path = _mixture(home, *datasets)
    with pytest.raises(ValueError, match=rule) as error:
        list_files.read(f"llava_mixture:{path}")
    assert str(path.parent.parent) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mixture_is_of_instructions_and_has_no_names(home):
    path = _mixture(home, A)
    with pytest.raises(ValueError, match="is a list of instructions, not captions"):
        inputs.expand([f"llava_mixture:{path}"], "", "captions")
    with pytest.raises(ValueError, match=r"m.yaml#a: a mixture is read as a whole"):
        list_files.read(f"{path}#a")


def test_tags_of_yaml_build_nothing(home):
    mark = home / "mark"
    text = f"datasets: !!python/object/apply:os.mkdir ['{mark}']"
    path = list_files.write(home / "m.yaml", text)
    for pattern in str(path), f"llava_mixture:{path}":
        with pytest.raises(ValueError, match=r"m.yaml: can't be read: "):
            list_files.read(pattern)
    assert not mark.exists()
