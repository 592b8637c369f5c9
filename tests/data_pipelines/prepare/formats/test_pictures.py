"""A picture may be named in any of the usual ways, and never by accident."""

import base64

import pytest

from data_pipelines.prepare.formats import pictures
from data_pipelines.prepare.formats.fields import Bad
from data_pipelines.prepare.raw import Picture

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(20))
BASE64 = base64.b64encode(PNG).decode()
LINK = "https://example.org/a.png"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("part-1/a.jpg", Picture(path="part-1/a.jpg")),
        ("file:///a%20b.jpg", Picture(path="/a b.jpg")),
        (LINK, Picture(url=LINK)),
        (f"data:image/png;base64,{BASE64}", Picture(data=PNG)),
        ("data:image/svg+xml,%3Csvg/%3E", Picture(data=b"<svg/>")),
        ({"file": "a.jpg", "alt": "x"}, Picture(path="a.jpg")),
        ({"path": "a.jpg", "url": LINK}, Picture(path="a.jpg", url=LINK)),
        ({"bytes": BASE64, "path": "a.jpg"}, Picture(data=PNG)),
        ({"bytes": None, "path": "a.jpg"}, Picture(path="a.jpg")),
        ({"image_url": {"url": LINK}}, Picture(url=LINK)),
        ({"image_url": f"data:image/png;base64,{BASE64}"}, Picture(data=PNG)),
    ],
)
def test_every_spelling_of_a_picture(value, expected):
    assert pictures.picture(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "missing_field"),
        ("", "missing_field"),
        (3, "missing_field"),
        ({"alt": "x"}, "missing_field"),
        ({"bytes": "not base64!"}, "unreadable_image"),
        ("data:image/png;base64", "unreadable_image"),
        ("a\ud800.jpg", "not_utf8"),
    ],
)
def test_what_names_no_picture_is_bad(value, reason):
    with pytest.raises(Bad) as caught:
        pictures.picture(value)
    assert caught.value.reason == reason


def test_one_several_or_no_pictures():
    assert pictures.pictures("a") == [Picture(path="a")]
    assert pictures.pictures(["a", "b"]) == [Picture(path="a"), Picture(path="b")]
    for nothing in (None, "", [], float("nan")):
        assert pictures.pictures(nothing) == []
