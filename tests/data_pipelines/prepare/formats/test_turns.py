"""A conversation as a document: its wording, its pictures, what is predicted."""

import pytest

from data_pipelines.prepare.formats import turns
from data_pipelines.prepare.formats.fields import Bad
from data_pipelines.prepare.formats.turns import Turn
from data_pipelines.prepare.raw import Picture
from data_pipelines.records import Text

A, B = Picture(path="a"), Picture(path="b")


def _document(said, *pictures):
    found = [Turn(turns.role(name), (text,)) for name, text in said]
    return turns.render(turns.bind(found, pictures))


def test_only_what_an_assistant_says_is_predicted():
    said = [
        ("system", "Be kind."),
        ("human", "<image>\nWhat?"),
        ("gpt", "A dog. "),
        ("user", "And\n<image>"),
        ("tool", "sunny"),
        ("assistant", "Two."),
    ]
    assert _document(said, A, B) == (
        Text("Be kind.\nUSER:", False),
        A,
        Text("\nWhat?\nASSISTANT:", False),
        Text(" A dog.", True),
        Text("\nUSER: And\n", False),
        B,
        Text("\nTOOL: sunny\nASSISTANT:", False),
        Text(" Two.", True),
    )


def test_the_wording_read_as_one_text():
    document = _document([("human", " Hi "), ("gpt", "Ho"), ("human", "What?")])
    text = "".join(part.text for part in document if isinstance(part, Text))
    assert text == "USER: Hi\nASSISTANT: Ho\nUSER: What?"


def test_pictures_without_a_tag_come_before_the_first_question():
    document = _document([("system", "S"), ("human", "What?"), ("gpt", "x")], A, B)
    assert document == (
        Text("S\nUSER:", False),
        A,
        B,
        Text("\nWhat?\nASSISTANT:", False),
        Text(" x", True),
    )


def test_an_assistant_may_show_a_picture():
    document = _document([("human", "Draw."), ("gpt", "Sure! <image> There.")], A)
    assert document == (
        Text("USER: Draw.\nASSISTANT:", False),
        Text(" Sure! ", True),
        A,
        Text(" There.", True),
    )
    document = _document([("human", "Draw."), ("gpt", "<image>")], A)
    assert document == (Text("USER: Draw.\nASSISTANT:", False), A)


@pytest.mark.parametrize(
    ("said", "pictures", "reason"),
    [
        ([("human", "<image><image>"), ("gpt", "x")], [A], "too_many_tags"),
        ([("human", "<image>"), ("gpt", "x")], [], "too_many_tags"),
        ([("human", "<image>"), ("gpt", "x")], [A, B], "too_few_tags"),
        ([("human", "a"), ("gpt", " \n")], [], "empty_text"),
        ([("human", "a")], [], "empty_text"),
        ([("human", "a\ud800"), ("gpt", "x")], [], "not_utf8"),
        ([("narrator", "a"), ("gpt", "x")], [], "unknown_role"),
    ],
)
def test_what_cant_be_shown_faithfully_is_bad(said, pictures, reason):
    with pytest.raises(Bad) as caught:
        _document(said, *pictures)
    assert caught.value.reason == reason
