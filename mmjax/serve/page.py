"""The page of the server, and the policy that lets nothing but itself run in it."""

import base64
import functools
import hashlib
import pathlib
import re
from typing import NamedTuple


class Page(NamedTuple):
    """A page and the headers it is sent with."""

    html: bytes
    headers: dict[str, str]


@functools.cache
def read() -> Page:
    """The page; its own style and script are allowed by their digests, nothing else."""
    html = pathlib.Path(__file__).with_name("page.html").read_bytes()
    policy = {
        "default-src": "'none'",
        "style-src": _digest(html, b"style"),
        "script-src": _digest(html, b"script"),
        "img-src": "blob:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{k} {v}" for k, v in policy.items()),
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Page(html, headers)


def _digest(html: bytes, tag: bytes) -> str:
    """The content of the page's one element of this name, as policies name it."""
    (content,) = re.findall(b"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
