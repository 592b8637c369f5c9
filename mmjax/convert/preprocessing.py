"""How a checkpoint's image processor makes pixels, as our `Preprocessing`."""

import re
from collections.abc import Sequence
from typing import Any

from mmjax import tiling
from mmjax.config import Preprocessing, ViT
from mmjax.convert.families.family import Settings

FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's, by number


def read(
    settings: Settings, images: Settings, vit: ViT, where: str, allow: Sequence[str]
) -> Preprocessing | None:
    """Of a whole model: its config.json and its processor's settings; None: not said.

    Raises ValueError, naming key and value, for what ours doesn't do, unless the key
    matches a pattern of `allow` (then it is passed over).
    """
    made = Preprocessing(interpolation="bicubic")
    problems: dict[str, str] = {}
    if images:
        number = images.get("resample", 3)
        if number in FILTERS:
            made.interpolation = FILTERS[number]
        else:
            problems["resample"] = f"resample={number!r}: must be one of {[*FILTERS]}"
    if settings["model_type"] == "llava_next":
        made.tiling, made.unpad, made.newline = "anyres", True, True
        made.grids, problem = _grids(settings, vit)
        problems |= problem
        own = images.get("image_grid_pinpoints")
        if own and own != settings.get("image_grid_pinpoints", own):
            problems["image_grid_pinpoints"] = (
                f"image_grid_pinpoints={own}: the processor's differ from config.json's"
            )
    elif images:
        made.resize, problem = _resize(images)
        problems |= problem
    lines = [
        f"{where}: {line}"
        for key, line in problems.items()
        if not any(re.fullmatch(pattern, key) for pattern in allow)
    ]
    if lines:
        raise ValueError("\n".join(lines))
    return made if images or made.tiling != "none" else None


def _grids(
    settings: Settings, vit: ViT
) -> tuple[tuple[tiling.Grid, ...], dict[str, str]]:
    """The grids of tiles, and what is wrong; none: LLaVA-NeXT's own, ours too."""
    key = "image_grid_pinpoints"
    side = (vit.position_grid * vit.patch_size) or vit.image_size  # theirs
    points: Any = settings.get(key) or []
    fits = isinstance(points, list) and all(
        isinstance(point, list)
        and len(point) == 2
        and all(isinstance(n, int) and n > 0 and n % side == 0 for n in point)
        for point in points
    )
    if not fits:
        rule = f"must be pairs of multiples of {side}, the sides of the encoder's image"
        return (), {key: f"{key}={points}: {rule}"}
    grids = tuple((height // side, width // side) for height, width in points)
    return () if grids == tiling.GRIDS["anyres"] else grids, {}


def _resize(images: Settings) -> tuple[str, dict[str, str]]:
    """How an image becomes a square, and what is wrong."""
    size = images.get("size", {"shortest_edge": 224})
    short = isinstance(size, int) or "shortest_edge" in size
    if "Llava" in images.get("image_processor_type", "") and images.get("do_pad"):
        return "letterbox", {}
    if not images.get("do_resize", True):
        rule = "must be True, every image becomes a square of the encoder's size"
        return "warp", {"do_resize": f"do_resize=False: {rule}"}
    if not short:
        return "warp", {}
    if images.get("do_center_crop", True):
        return "crop", {}
    rule = "must be height and width, or cropped (do_center_crop)"
    return "crop", {"size": f"size={size}: {rule}"}
