"""Files that appear whole or not at all."""

import pathlib


def replace(path: pathlib.Path, text: str) -> None:
    """Writes a file in one step: a reader sees the old one or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
