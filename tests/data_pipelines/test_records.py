"""Records hold every document exactly, and refuse what is none."""

import contextlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import records
from data_pipelines.records import Document, Image, Text

texts = st.builds(Text, st.text(), st.booleans(), st.text())
pixels = st.integers(1, 10_000)
images = st.builds(Image, st.binary(), pixels, pixels)
documents = st.builds(
    Document,
    st.lists(st.one_of(texts, images), max_size=4).map(tuple),
    source=st.text(),
    kind=st.text(),
    licence=st.text(),
    url=st.text(),
    meta=st.dictionaries(st.text(), st.integers(-9, 9), max_size=3),
)


@given(documents)
def test_a_document_survives_its_record(document):
    assert records.decode(records.encode(document)) == document


@given(documents)
def test_equal_documents_give_equal_bytes(document):
    copy = document._replace(meta=dict(reversed(document.meta.items())))
    assert records.encode(copy) == records.encode(document)
    assert pickle.loads(pickle.dumps(document)) == document


def test_the_id_depends_on_content_alone():
    document = Document((Text("a"), Image(b"x", 2, 3)))
    same = document._replace(source="web", kind="k", url="u", meta={"n": 1})
    assert records.document_id(same) == records.document_id(document)
    assert len(records.document_id(document)) == 16
    others = [
        Document((Text("a", loss=False), Image(b"x", 2, 3))),
        Document((Text("a"), Image(b"y", 2, 3))),
        Document((Text("a"), Image(b"x", 3, 2))),
        Document((Image(b"x", 2, 3), Text("a"))),
        Document((Text("a"),)),
    ]
    assert len({records.document_id(d) for d in [document, *others]}) == 6
    rewritten = Document((Text("a", synthetic="b"), Image(b"x", 2, 3)))
    assert records.document_id(rewritten) == records.document_id(document)


@given(st.binary())
def test_garbage_raises_value_error(data):
    good = records.encode(Document((Text("hello"),)))
    for bad in (data, bytes([records.VERSION]) + data, good[:-3], good[:2] + data):
        try:
            records.decode(bad)
        except ValueError:
            continue


def test_another_version_is_named():
    good = records.encode(Document((Text("hello"),)))
    with pytest.raises(ValueError, match=r"version is 9.*reads 1"):
        records.decode(b"\x09" + good[1:])
    with pytest.raises(ValueError, match="version is nothing"):
        records.decode(b"")


@pytest.mark.parametrize(
    ("segment", "problem"),
    [
        (Image(b"x", 0, 5), "segment 1.*0 x 5 pixels"),
        (Image("x", 4, 5), "segment 1.*wrong type"),
        (Text(b"bytes"), "segment 1.*wrong type"),
        (Text("half a pair \ud800"), "doesn't fit a record"),
    ],
)
def test_what_a_record_cannot_hold_is_refused(segment, problem):
    with pytest.raises(ValueError, match=problem):
        records.encode(Document((Text("fine"), segment)))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_bytes_are_changed_a_record_is_one_or_a_value_error(seed):
    rng = np.random.default_rng(seed)
    segments = (Image(b"\xff\xd8" * 9, 3, 4), Text("a ball"), Text("x", True, "y"))
    data = records.encode(Document(segments, kind="k", meta={"a": [1]}))
    for _ in range(3000):
        damaged = bytearray(data[: int(rng.integers(1, len(data) + 1))])
        for place in rng.integers(0, len(damaged), int(rng.integers(1, 4))):
            damaged[place] = int(rng.integers(256))
        with contextlib.suppress(ValueError):
            assert isinstance(records.decode(bytes(damaged)), Document)
