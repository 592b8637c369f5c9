"""Elements of a JSON array, one after the other, from a file of any size.

Only their borders are found here; each is parsed alone, by Python's json, so that what
`json.load` accepts (NaN, integers of any length) is accepted, and a bad one is lost
alone.
"""

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

MAX_ELEMENT = 2**30  # bytes; what is longer has lost its closing bracket
_BLOCK = 2**20
# A whole string, or one character that borders something. A quotation mark that stands
# alone begins a string that goes on in the next block.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)


def elements(file: BinaryIO, member: str = "") -> Iterator[bytes]:
    """The elements of the array that the file is; of the array `member` of its object.

    Memory holds one element and a block. Raises ValueError where the file ends inside
    of the array, has none, or goes on behind it.
    """
    wanted = json.dumps(member).encode()
    where = f"the array {member!r}" if member else "its array"
    # The first bracket of all, and how many are open between two elements.
    outer, level = (b"{", 2) if member else (b"[", 1)
    depth, name, inside = 0, b"", False
    buffer, begun, at = b"", 0, 0  # begun: first byte of the element; at: to be seen
    # As much again as is held: a long element is copied and searched twice, not often.
    while block := file.read(max(_BLOCK, len(buffer) - begun)):
        buffer, at, begun = buffer[begun:] + block, at - begun, 0
        for token in _TOKEN.finditer(buffer, at):
            mark = token[0]
            if mark == b'"':
                break
            at = token.end()
            if mark in b"[{":
                depth += 1
                if depth == 1 and mark != outer:
                    raise ValueError(f"doesn't hold {where}")
                opens = mark == b"[" and depth == level and not inside
                if opens and (not member or name == wanted):
                    inside, begun = True, at
            elif inside and depth == level and mark in b",]":
                element = buffer[begun : token.start()].strip()
                if element or mark == b",":
                    yield element
                begun = at
                if mark == b"]":
                    return None if member else _check_end(file, buffer[at:])
            elif mark in b"]}":
                depth -= 1
                if not depth:
                    raise ValueError(f"doesn't hold {where}")
            elif depth == 1:
                name = mark
            if not inside:
                begun = at
        if len(buffer) - begun > MAX_ELEMENT:
            raise ValueError(f"an element has more than {MAX_ELEMENT} bytes")
    raise ValueError(f"ends inside of {where}" if inside else f"doesn't hold {where}")


def _check_end(file: BinaryIO, rest: bytes) -> None:
    if (rest + file.read(_BLOCK)).strip():
        raise ValueError("goes on behind its array")
