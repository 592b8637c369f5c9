"""Pages: templates, images inside of them, and files that need nothing else."""

import base64
import functools
import io
import pathlib

import jinja2
import numpy as np
import PIL.Image

from data_pipelines.inspect import tables

THUMBNAIL = 320  # pixels of the longer side of an image, at most
COLOURS = 6  # --s1 ... --s6 of base.html.jinja; further ones begin again


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"compact": tables.compact, "percent": tables.percent}
    return environment


def render(template: str, **values: object) -> str:
    """The page of a template beside this file. Text of documents is never markup."""
    return _environment().get_template(template).render(**values)


def check(path: str, needed: bool) -> None:
    """Raises ValueError for a --page that can't be written, before work is done."""
    if not path and needed:
        raise ValueError("--page is missing: the file to write, as in --page=rows.html")
    if path and not pathlib.Path(path).absolute().parent.is_dir():
        raise ValueError(f"--page={path}: no such folder")
    if path and pathlib.Path(path).is_dir():
        raise ValueError(f"--page={path}: is a folder; name a file")


def write(path: str, page: str) -> None:
    """Writes a page; ValueError where that can't be done."""
    try:
        pathlib.Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"--page={path}: can't be written ({error.strerror})"
        ) from error


def encoded_uri(data: bytes) -> str:
    """An encoded image for an `<img>`, made smaller where it is large; "" if broken."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return _uri(opened.convert("RGB"))
    except Exception:  # decoders raise whatever they like on damaged bytes
        return ""


def pixels_uri(pixels_hwc: np.ndarray) -> str:
    """Pixels (uint8, RGB) for an `<img>`."""
    return _uri(PIL.Image.fromarray(pixels_hwc))


def _uri(image: PIL.Image.Image) -> str:
    kind = "PNG" if max(image.size) <= 64 else "JPEG"
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    image.save(out, kind, quality=85)
    text = base64.b64encode(out.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
