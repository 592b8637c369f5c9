"""Pictures of a record, looked at once: read, converted, judged and hashed."""

import hashlib
from typing import NamedTuple

from data_pipelines.prepare import photos, picture_hash
from data_pipelines.prepare.filters import pictures
from data_pipelines.prepare.filters.base import Problem
from data_pipelines.prepare.raw import Picture
from data_pipelines.prepare.recipe import Recipe
from data_pipelines.records import Image


class Seen(NamedTuple):
    """An image as it goes into records, and what tells it from others."""

    image: Image
    digest: bytes  # of the original file: the same picture under any name
    perceptual: int | None  # None: not wanted, or too plain


class Unseen(NamedTuple):
    """An image that is left out."""

    problem: Problem
    filtered: bool  # by a rule; otherwise it is missing or damaged


def look(folder: str, picture: Picture, recipe: Recipe) -> Seen | Unseen:
    """The picture, converted; or what is wrong with it."""
    name = picture.path or picture.url
    try:
        data = picture.data or _read(folder, picture)
        image = photos.convert(data, recipe.max_side)
    except photos.Refused as refused:
        detail = refused.detail
        named = detail if not name or name in detail else f"{name}: {detail}"
        return Unseen(Problem(refused.reason, named), False)
    if recipe.pictures is not None:
        label = picture.url or picture.path
        width, height = photos.size(data)
        found = pictures.problem(label, len(data), width, height, recipe.pictures)
        found = found or pictures.plain(image.data, recipe.pictures)
        if found:
            return Unseen(found, True)
    wanted = recipe.near_duplicates or recipe.evaluations
    perceptual = picture_hash.perceptual(image.data) if wanted else None
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return Seen(image, digest, perceptual)


def _read(folder: str, picture: Picture) -> bytes:
    if picture.path:
        return photos.read(folder, picture.path)
    raise photos.Refused("image_not_local", f"{picture.url}: download it first")
