"""Every spelling of chat messages gives the same document."""

import base64

import format_files
import pytest

from data_pipelines.prepare.raw import Picture
from data_pipelines.records import Text

PNG = b"\x89PNG\r\n\x1a\n" + bytes(9)
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
LINK = "https://example.org/a.png"
A = Picture(path="a.png")
TEXT = {"type": "text", "text": "What?"}


def _row(content, **more):
    said = {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}
    return {"messages": [{"role": "user", "content": content}, said], **more}


def _expected(picture):
    return (Text("USER:", False), picture, Text("What?\nASSISTANT:", False),
            Text(" A dog.", True))  # fmt: skip


SPELLINGS = [
    (_row([{"type": "image"}, TEXT], images=["a.png"]), A),
    (_row([{"type": "image", "index": 0}, TEXT], image="a.png"), A),
    (_row([{"type": "image", "image": "a.png"}, TEXT]), A),
    (_row([{"type": "image", "path": "a.png"}, TEXT]), A),
    (_row([{"type": "image", "url": LINK}, TEXT]), Picture(url=LINK)),
    (_row([{"type": "image", "image": {"path": "a.png"}}, TEXT]), A),
    (_row([{"type": "image", "image": "a.png", "metadata": {"width": 3}}, TEXT]), A),
    (_row([{"type": "image_url", "image_url": {"url": LINK}}, TEXT]),
     Picture(url=LINK)),
    (_row([{"type": "image_url", "image_url": {"url": DATA_URL}}, TEXT]),
     Picture(data=PNG)),
    (_row([{"type": "input_image", "image_url": DATA_URL},
           {"type": "input_text", "text": "What?"}]), Picture(data=PNG)),
    (_row("<image>What?", images=["a.png"]), A),  # LLaMA-Factory
    (_row([{"type": "image", "image": "a.png"}, TEXT], images=["a.png"]), A),
]  # fmt: skip


@pytest.mark.parametrize(("record", "picture"), SPELLINGS)
def test_every_spelling_of_an_image(tmp_path, record, picture):
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    (raw,), rejects = format_files.read(path, "chat")
    assert raw.documents == (_expected(picture),)
    assert not rejects


def test_images_that_nothing_places_come_first(tmp_path):
    path = format_files.as_array(tmp_path / "a.json", [_row("What?", images=["a.png"])])
    (raw,), _ = format_files.read(path, "chat")
    assert format_files.shown(raw.documents[0]) == [
        "USER:", "<a.png>", "\nWhat?\nASSISTANT:", " A dog."
    ]  # fmt: skip


def test_text_only_rows_and_systems(tmp_path):
    record = _row("What?", images=[], system="Be brief.", source="s")
    path = format_files.as_lines(tmp_path / "a.jsonl", [record])
    (raw,), _ = format_files.read(path, "chat")
    shown = format_files.shown(raw.documents[0])
    assert shown == ["Be brief.\nUSER: What?\nASSISTANT:", " A dog."]
    assert raw.meta == {"source": "s"}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (_row("<image><image>", images=["a.png"]), "too_many_tags"),
        (_row([{"type": "image"}, TEXT]), "too_many_tags"),
        (_row([{"type": "image", "path": "a.png"}], images=["b.png"]), "too_few_tags"),
        (_row([{"type": "video", "video": "v.mp4"}, TEXT]), "unsupported_media"),
        (_row([{"type": "input_audio"}, TEXT]), "unsupported_media"),
        (_row([3]), "unsupported_media"),
        (_row("What?", videos=["v.mp4"]), "unsupported_media"),
        (_row("<audio>What?", audios=["a.wav"]), "unsupported_media"),
        (_row("What?", chosen=[1], rejected=[2]), "preferences"),
        (_row(None), "missing_field"),
        (_row([{"type": "text", "text": None}]), "missing_field"),
        ({"messages": []}, "missing_field"),
        ({"messages": ["hi"]}, "missing_field"),
        ({"id": 3}, "missing_field"),
        ({"messages": [{"role": "poet", "content": "x"}]}, "unknown_role"),
        (_row([{"type": "image", "url": "data:image/png;base64,!"}]),
         "unreadable_image"),
    ],
)  # fmt: skip
def test_what_cant_be_read_faithfully_is_left_out(tmp_path, record, reason):
    path = format_files.as_lines(tmp_path / "a.jsonl", [record | {"id": "x1"}])
    raws, rejects = format_files.read(path, "chat")
    assert not raws
    assert format_files.reasons(rejects) == [(1, reason, "record")]
    assert rejects[0].detail.startswith(("id x1: ", "needs"))
