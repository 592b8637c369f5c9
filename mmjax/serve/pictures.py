"""Images of requests: found, and refused where they are too large or no images.

Their headers are read first. They say what decoding would take, so an image of a few
bytes and many pixels costs nothing.
"""

import base64
import io
import urllib.parse
import warnings

import numpy as np
import PIL.Image

from data_pipelines import crops, images
from data_pipelines.prepare import photos
from data_pipelines.prepare.photos import Refused
from data_pipelines.records import Image
from mmjax import answering
from mmjax.config import Config
from mmjax.serve.limits import Limits
from mmjax.serve.problems import Problem, bad

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "MPO")  # the last: JPEGs of some phones


def encoded(url: str, param: str, limits: Limits) -> bytes:
    """The bytes that an address stands for: `data:` or a file below the folder.

    Raises Problem where there are none.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "data":
        return _of_data(url, param)
    if scheme in ("http", "https"):
        rule = "this server fetches nothing: send the image as a data: URL"
        raise bad(param, rule, "unsupported_image_url")
    return _of_file(url, param, limits)


def _of_data(url: str, param: str) -> bytes:
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise bad(param, "must be as data:image/jpeg;base64,...", "invalid_image")
    try:
        return base64.b64decode(urllib.parse.unquote(data), validate=True)
    except ValueError as error:
        raise bad(param, f"not base64 ({error})", "invalid_image") from None


def _of_file(name: str, param: str, limits: Limits) -> bytes:
    """A file of the folder. What lies outside it isn't told from what isn't there."""
    if not limits.images:
        rule = "must be a data: URL; files are served with --images=FOLDER only"
        raise bad(param, rule, "unsupported_image_url")
    if "://" in name or name.startswith(("/", "file:")):
        raise bad(param, "must be a path relative to --images", "invalid_image_url")
    most = limits.request_bytes
    try:
        path = photos.inside(limits.images, name)
        if not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError, RuntimeError, Refused):  # a null byte, a ring of links
        raise bad(param, "no such file below --images", "invalid_image_url") from None
    if len(data) > most:
        raise bad(param, f"larger than {most} bytes (--max_request_bytes)")
    return data


def image(data: bytes, param: str, room: int) -> Image:
    """The image of these bytes, upright; Problem unless it has at most `room` pixels.

    Only its header is read, unless it has to be turned.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(data)) as opened:
                kind, (width, height) = opened.format, opened.size
    except PIL.Image.DecompressionBombError:
        raise _large(param, "an image", room) from None
    except Exception:  # decoders raise whatever they like on damaged bytes
        raise _unreadable(param) from None
    if kind not in FORMATS:
        raise bad(param, f"{kind}: must be one of {', '.join(FORMATS)}")
    if width * height > room:
        raise _large(param, f"{width} x {height}", room)
    try:
        return answering.image(data)
    except ValueError:
        raise _unreadable(param) from None


def require_decodable(config: Config, image: Image, param: str) -> None:
    """Raises Problem for an image that is damaged: decodes it as batches do."""
    recipe = crops.recipe(config.model)
    grid = crops.grid(recipe, image.width, image.height)
    shape = (crops.count(grid), recipe.size, recipe.size, 3)
    if not images.decode_crops(image.data, recipe, grid, np.empty(shape, np.uint8)):
        raise _unreadable(param)


def _large(param: str, what: str, room: int) -> Problem:
    rule = f"{what}: a request's images have {room} pixels left (--max_image_pixels)"
    return bad(param, rule, "image_too_large")


def _unreadable(param: str) -> Problem:
    return bad(param, "can't be decoded", "invalid_image")
