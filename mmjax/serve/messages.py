"""Messages of a chat become a prompt, as lines that are typed do in a talk.

What the user says is put into the template, an answer follows it, and `between` stands
after each answer. What the system says stands as it is, with `between` after it, too.
"""

from collections.abc import Callable, Sequence
from typing import Any

from data_pipelines.records import Image, Segment, Text
from mmjax import prompt_parts
from mmjax.generate.chat import Manner
from mmjax.serve.problems import bad

ROLES = ("system", "developer", "user", "assistant")
DETAILS = ("auto", "low", "high")  # of an image: the model has one way to see
Picture = Callable[[str, str], Image]  # (address, field) -> image


def prompt(messages: Any, manner: Manner, picture: Picture) -> tuple[Segment, ...]:
    """The prompt that the last message, the user's, is the end of. Raises Problem."""
    if not isinstance(messages, list) or not messages:
        raise bad("messages", "must be a list of at least one message")
    roles = [_role(message, f"messages[{i}]") for i, message in enumerate(messages)]
    if roles[-1] != "user":
        raise bad("messages", "the last must be the user's")
    segments: list[Segment] = []
    for i, (role, message) in enumerate(zip(roles, messages)):
        found = _content(message.get("content"), f"messages[{i}].content", picture)
        if role != "user" and any(isinstance(s, Image) for s in found):
            raise bad(f"messages[{i}].content", f"images of the {role} are unsupported")
        template = manner.template if role == "user" else prompt_parts.SLOT
        segments += prompt_parts.filled(template, found)
        last = i == len(messages) - 1
        if not last and not (role == "user" and roles[i + 1] == "assistant"):
            segments.append(Text(manner.between))
    return tuple(s for s in segments if isinstance(s, Image) or s.text)


def _role(message: Any, param: str) -> str:
    """The role of a message that has nothing but its role and content."""
    if not isinstance(message, dict):
        raise bad(param, "must be an object with role and content")
    for name, value in message.items():
        if name not in ("role", "content") and value is not None:
            raise bad(f"{param}.{name[:40]}", "unsupported")
    role = message.get("role")
    if role not in ROLES:
        raise bad(f"{param}.role", f"must be one of {', '.join(ROLES)}")
    return role


def _content(content: Any, param: str, picture: Picture) -> Sequence[Segment]:
    """The texts and images of a message; texts are empty at worst."""
    if isinstance(content, str):
        return [_text(content, param)]
    if not isinstance(content, list):
        raise bad(param, "must be a string, or a list of parts")
    return [_part(part, f"{param}[{i}]", picture) for i, part in enumerate(content)]


def _part(part: Any, param: str, picture: Picture) -> Segment:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and set(part) == {"type", "text"}:
        return _text(part["text"], f"{param}.text")
    if kind == "image_url" and set(part) == {"type", "image_url"}:
        told = part["image_url"]
        if not isinstance(told, dict) or not set(told) <= {"url", "detail"}:
            raise bad(f"{param}.image_url", "must be an object with url")
        if told.get("detail") not in (*DETAILS, None):
            raise bad(f"{param}.image_url.detail", f"one of {', '.join(DETAILS)}")
        if not isinstance(told.get("url"), str):
            raise bad(f"{param}.image_url.url", "must be a string")
        return picture(told["url"], f"{param}.image_url.url")
    raise bad(param, "must be a part of type text (text) or image_url (image_url)")


def _text(value: Any, param: str) -> Text:
    """A text of whole characters: JSON may hold half of one."""
    if not isinstance(value, str):
        raise bad(param, "must be a string")
    try:
        value.encode("utf-8")
    except UnicodeError:
        raise bad(param, "holds half a character (a lone surrogate)") from None
    return Text(value)
