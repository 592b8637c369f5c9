"""A talk goes on from all that was said, as far as there is room."""

import io

import pytest
import talking

from data_pipelines.records import Image, Text
from mmjax import answering
from mmjax.answering import Request
from mmjax.generate import chat
from mmjax.generate.chat import Manner
from mmjax.generation import speaker

MANNER = Manner("{text} so", "\n", Request((), 4))


def talked(answerer, *lines: str) -> list[str]:
    """What is printed, without the help."""
    out = io.StringIO()
    chat.talk(answerer, MANNER, [f"{line}\n" for line in lines], out)
    assert out.getvalue().startswith(chat.HELP)
    return out.getvalue()[len(chat.HELP) + 1 :].split("> ")[1:]


def test_images_stand_where_they_are_typed(tmp_path):
    for name in ("a.png", "my cat.png"):
        (tmp_path / name).write_bytes(talking.image(0).data)
    line = f'what is @{tmp_path}/a.png beside @"{tmp_path}/my cat.png" ?'
    found = chat.typed(line, MANNER.template)
    kinds = [type(part) for part in found]
    assert kinds == [Text, Image, Text, Image, Text]
    assert [p.text for p in found if isinstance(p, Text)] == [
        "what is", "beside", "? so"
    ]  # fmt: skip
    assert chat.typed("mail me@home", "{text}") == (Text("mail me@home"),)
    assert chat.typed("what <image> is", "{text}") == (Text("what <image> is"),)


def test_an_answer_goes_on_from_all_that_was_said(answerer):
    first, second, _ = talked(answerer, "a red", "the dog")
    expected = answering.answer(answerer, [Request((Text("a red so"),), 4)])[0].text
    assert first == f"{expected}\n"
    whole = [Text(t) for t in ("a red so", expected, "\n", "the dog so")]
    again = answering.answer(answerer, [Request(tuple(whole), 4)])[0].text
    assert second == f"{again}\n"


def test_what_is_told_of_an_answer_with_a_stop_string_is_the_answer(
    answerer, monkeypatch
):
    monkeypatch.setattr(speaker, "BLOCK", 1)
    free = answering.answer(answerer, [Request((Text("a red so"),), 30)])[0].text
    stop = free[len(free) // 2 :][:4]
    out = io.StringIO()
    manner = MANNER._replace(wanted=Request((), 30, stop=(stop,)))
    chat.talk(answerer, manner, ["a red\n"], out)
    assert out.getvalue().split("> ")[1] == free.split(stop)[0] + "\n"


def test_new_forgets_and_quit_ends(answerer):
    first, forgotten, same, *rest = talked(
        answerer, "a red", "/new", "a red", "/quit", "a red"
    )
    assert forgotten == ""
    assert same == first
    assert rest == [""]


def test_what_cant_be_read_is_told_and_the_talk_goes_on(answerer):
    error, answer, _ = talked(answerer, "look @no.png", "a red")
    assert error == "error: image no.png: No such file or directory\n"
    assert answer == talked(answerer, "a red")[0]


def test_the_oldest_turns_make_room(answerer):
    turns = [(Text("a red ball " * n),) for n in (6, 3, 1)]
    left, forgotten = chat.fitting(answerer, turns, Request((), 40))
    assert forgotten == 1
    assert left == turns[1:]
    with pytest.raises(ValueError, match="a row has 64"):
        chat.fitting(answerer, [turns[0] * 3], Request((), 40))
