"""Pickles are refused before a byte of them is read."""

import pytest

from data_pipelines.prepare.formats import pickles


def test_a_pickle_is_refused_with_a_way_out(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cos\nabort\n(tR.")
    assert path.name.endswith(pickles.FORMAT.suffixes)
    with pytest.raises(ValueError, match=r"a\.pkl: pickles are not read.*JSON lines"):
        pickles.FORMAT.sniff(path)
    with pytest.raises(ValueError, match="pickles are not read"):
        pickles.FORMAT.units(path, "")
