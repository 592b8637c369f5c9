"""Lists of datasets are told apart by what they hold, and from all else."""

import json

import list_files
import pytest

from data_pipelines.prepare.formats import inputs, lists, registry

VALUES = {
    "llava_mixture": {"datasets": [{"json_path": "a.json"}]},
    "vila": {"a": {"_target_": "x", "data_path": "a.json"}},
    "llama_factory": {"a": {"file_name": "a.json"}, "b": {"hf_hub_url": "x/y"}},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_list_is_of_one_kind_only(tmp_path, name):
    assert [n for n, kind in lists.LISTS.items() if kind.sniff(VALUES[name])] == [name]
    path = list_files.write(tmp_path / "a.yaml", VALUES[name])
    for pattern in str(path), f"{path}#a":
        found = lists.find(pattern, "", "instructions")
        assert found
        assert found.list is lists.LISTS[name]
        assert found.path == path


def test_names_of_lists_and_of_formats_differ():
    assert not lists.LISTS.keys() & registry.FORMATS.keys()


@pytest.mark.parametrize(
    "values", [[], {}, "text", None, {"a": 1}, {"datasets": []}, {"datasets": ["a"]}]
)
def test_other_values_are_an_error_that_tells_the_kinds(tmp_path, values):
    path = list_files.write(tmp_path / "a.yaml", json.dumps(values))
    for pattern in str(path), f"{path}#a":
        rule = "is no list of llava_mixture, vila, llama_factory; name it, as in"
        with pytest.raises(ValueError, match=rule):
            inputs.expand([pattern], "", "instructions")


def test_a_blend_of_tars_is_none_of_them(tmp_path):
    text = "splits: {train: {datasets: [{weight: 1, path: cc3m}]}}"
    path = list_files.write(tmp_path / "blend.yaml", text)
    assert lists.find(str(path), "", "instructions") is None
    (found,) = inputs.expand([str(path)], "", "instructions")
    assert found.format == "energon"


def test_a_file_may_have_a_number_sign_in_its_name(tmp_path):
    path = tmp_path / "a#1.txt"
    path.write_text("Text.")
    (found,) = inputs.expand([str(path)], "", "text")
    assert found.file == str(path)
    with pytest.raises(ValueError, match=r"a#2.txt: no such file"):
        inputs.expand([str(tmp_path / "a#2.txt")], "", "text")
