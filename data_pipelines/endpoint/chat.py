"""One question to an OpenAI-compatible endpoint, and what came of it."""

import base64
import datetime
import email.utils
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NamedTuple

import mmjax

LONGEST_PAUSE = 3600.0  # seconds; a server that says longer is asked again after this
_LARGEST_REPLY = 10_000_000  # bytes
_FATAL = {
    401: "the key is refused",
    403: "the key is refused",
    404: "no such address or model",
}
_LATER = {408, 409, 425, 429}  # and all that is 500 or more
_MAGIC = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"RI": "webp", b"GI": "gif"}


class Endpoint(NamedTuple):
    """Whom to ask. Its key is shown nowhere."""

    url: str  # without /chat/completions
    model: str
    key: str = ""
    max_tokens: int = 256  # of an answer
    timeout: float = 120.0  # seconds without a byte
    temperature: float | None = None  # None: as the endpoint likes

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"

    def without_key(self, text: str) -> str:
        """The text of a server, which may repeat what it was sent."""
        return text.replace(self.key, "[key]") if len(self.key) >= 8 else text


class Flags(NamedTuple):
    """What a program calls the parts of an endpoint, for its errors."""

    url: str
    model: str
    key: str


class Answer(NamedTuple):
    """What the model says, and what it cost."""

    text: str
    tokens_in: int
    tokens_out: int


class Failure(Exception):  # noqa: N818
    """No answer: one of a few reasons, for counting, and the details."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Later(Failure):
    """No answer now; it is worth asking again, after so many seconds if it says so."""

    def __init__(self, reason: str, detail: str = "", wait: float | None = None):
        super().__init__(reason, detail)
        self.wait = wait


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Another host would be sent the key."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def key(variable: str, flag: str) -> str:
    """The key in an environment variable; empty where none is named.

    ValueError, with the flag that names it, where it isn't there.
    """
    if variable and not os.environ.get(variable, "").strip():
        raise ValueError(f"{flag}={variable}: no such environment variable")
    return os.environ[variable].strip() if variable else ""


def check(endpoint: Endpoint, flags: Flags) -> Endpoint:
    """The endpoint, its address without a last slash; ValueError where it can't be."""
    url = endpoint.url.rstrip("/")
    if "@" in url or "?" in url:
        raise ValueError(f"{flags.url}: no keys in addresses; use {flags.key}")
    if not _is_address(url):
        raise ValueError(f"{flags.url}={url}: must be as http://host:8000/v1")
    if not endpoint.model:
        raise ValueError(f"{flags.model}: name the endpoint's model")
    if not re.fullmatch(r"[!-~]*", endpoint.key):
        raise ValueError(f"{flags.key}: the key has characters that no key has")
    return endpoint._replace(url=url)


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = re.fullmatch(r"[!-~]+", url) is not None
    known = parts.scheme in ("http", "https") and bool(parts.hostname)
    return plain and known and port != 0


def ask(endpoint: Endpoint, prompt: str, image: bytes | None = None) -> Answer:
    """The model's answer, of an image if there is one.

    Raises Failure, or Later where it is worth asking again; ValueError where no
    question will ever be answered, as for a wrong key.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"mmjax/{mmjax.__version__}",
    }
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    url = f"{endpoint.url}/chat/completions"
    request = urllib.request.Request(url, _body(endpoint, prompt, image), headers)
    try:
        with _opener.open(request, timeout=endpoint.timeout) as reply:
            data = reply.read(_LARGEST_REPLY)
    except urllib.error.HTTPError as error:
        with error:
            raise _problem(endpoint, error) from None
    except TimeoutError:
        raise Later("timeout") from None
    except (OSError, http.client.HTTPException) as error:
        timed_out = isinstance(getattr(error, "reason", None), TimeoutError)
        detail = endpoint.without_key(str(error) or type(error).__name__)
        raise Later("timeout" if timed_out else "no connection", detail) from None
    return _answer(endpoint, data)


def _body(endpoint: Endpoint, prompt: str, image: bytes | None) -> bytes:
    content = prompt if image is None else [_shown(image), _said(prompt)]
    fields = {
        "model": endpoint.model,
        "max_tokens": endpoint.max_tokens,
        "messages": [{"role": "user", "content": content}],
    }
    if endpoint.temperature is not None:
        fields["temperature"] = endpoint.temperature
    return json.dumps(fields).encode()


def _shown(image: bytes) -> dict[str, Any]:
    kind = _MAGIC.get(image[:2], "jpeg")
    url = f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _answer(endpoint: Endpoint, data: bytes) -> Answer:
    """The answer that a reply holds."""
    try:
        reply = json.loads(data)
        choice = reply["choices"][0]
        text = (choice["message"]["content"] or "").strip()
        text.encode("utf-8")  # JSON may hold half a character
        usage = reply.get("usage") or {}
        tokens = [int(usage.get(f"{k}_tokens") or 0) for k in ("prompt", "completion")]
        finish = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        detail = endpoint.without_key(repr(error)[:200])
        raise Later("not a chat completion", detail) from None
    if finish == "length":
        raise Failure("answer is cut off", f"at {endpoint.max_tokens} tokens")
    if finish == "content_filter":
        raise Failure("answer is filtered")
    if not text:
        raise Later("empty answer")
    return Answer(endpoint.without_key(text), *tokens)


def _problem(endpoint: Endpoint, error: urllib.error.HTTPError) -> Exception:
    """What to make of a status that isn't 200."""
    try:
        words = error.read(2000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        words = ""
    detail = endpoint.without_key(" ".join(words.split()))[:200]
    reason = f"HTTP {error.code}"
    if error.code in _LATER or error.code >= 500:
        return Later(reason, detail, _retry_after(error.headers.get("Retry-After")))
    if error.code in _FATAL or error.code < 400:
        why = _FATAL.get(error.code, "redirects are not followed")
        return ValueError(f"{endpoint.url}: {reason}, {why}: {detail}")
    return Failure(reason, detail)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
        seconds = (date - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_PAUSE) if seconds == seconds else None
