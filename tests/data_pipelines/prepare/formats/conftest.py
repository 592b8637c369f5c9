"""Pictures for files of every format."""

import io
import itertools

import PIL.Image
import pytest


@pytest.fixture(scope="session")
def photos(request: pytest.FixtureRequest) -> list[bytes]:
    """Six JPEGs, no two the same: real photos, or drawn ones where these are absent."""
    try:
        folder = request.getfixturevalue("real_data") / "captions"
        found = itertools.islice(sorted(folder.rglob("*.jpg")), 6)
        real = [path.read_bytes() for path in found]
    except pytest.skip.Exception:
        real = []
    return real if len(real) == 6 else [_drawn(40 * i) for i in range(6)]


def _drawn(red: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (24, 16), (red, 90, 20)).save(buffer, "JPEG")
    return buffer.getvalue()
