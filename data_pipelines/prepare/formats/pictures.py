"""What a record says about one picture, in the spellings that are in use."""

import base64
import binascii
import re
import urllib.parse
from typing import Any

from data_pipelines.prepare.formats import fields
from data_pipelines.prepare.formats.fields import Bad
from data_pipelines.prepare.raw import Picture

_PLACES = ("file", "path", "image", "file_name", "filename")  # keys of a local file
_BYTES = ("bytes", "image_base64", "base64")
_SPACE = re.compile(r"\s+")


def picture(value: Any) -> Picture:
    """The picture of a path, a URL, a data: URL or a dict of one of these.

    Raises Bad where it names nothing.
    """
    if isinstance(value, str) and value:
        return _named(value)
    if isinstance(value, bytes) and value:
        return Picture(data=value)
    if isinstance(value, dict):
        return _of_dict(value)
    raise Bad("missing_field", f"an image must name its file, not {str(value)[:80]!r}")


def pictures(value: Any) -> list[Picture]:
    """One picture, a list of them, or none."""
    if fields.absent(value):
        return []
    return [picture(v) for v in (value if isinstance(value, list) else [value])]


def inline(text: str) -> Picture:
    """The picture whose encoded bytes are written in base64; raises Bad."""
    try:
        return Picture(data=base64.b64decode(_SPACE.sub("", text), validate=True))
    except (binascii.Error, ValueError) as error:
        raise Bad("unreadable_image", f"not base64: {error}") from error


def _named(name: str) -> Picture:
    if name[:5].lower() == "data:":
        return _of_data_url(name)
    name = fields.clean(name)
    if name.startswith("file://"):
        return Picture(path=urllib.parse.unquote(name.removeprefix("file://")))
    return Picture(url=name) if "://" in name else Picture(path=name)


def _of_dict(value: dict[str, Any]) -> Picture:
    if isinstance(value.get("bytes"), bytes) and value["bytes"]:
        return Picture(data=value["bytes"], url=_url(value))  # a struct of parquet
    for key in _BYTES:
        if isinstance(value.get(key), str) and value[key]:
            return inline(value[key])._replace(url=_url(value))
    for key in _PLACES:
        if isinstance(value.get(key), str) and value[key]:
            found = _named(value[key])
            return found._replace(url=found.url or _url(value))
    link = value.get("image_url", value.get("url"))
    if isinstance(link, dict):
        link = link.get("url")
    if isinstance(link, str) and link:
        return _named(link)
    raise Bad("missing_field", f"an image must name its file, but has {sorted(value)}")


def _url(value: dict[str, Any]) -> str:
    url = value.get("url")
    return fields.clean(url) if isinstance(url, str) else ""


def _of_data_url(url: str) -> Picture:
    head, comma, body = url.partition(",")
    if not comma:
        raise Bad("unreadable_image", f"{url[:40]!r}: a data: URL without data")
    if head.lower().endswith(";base64"):
        return inline(urllib.parse.unquote(body))
    return Picture(data=urllib.parse.unquote_to_bytes(body))
