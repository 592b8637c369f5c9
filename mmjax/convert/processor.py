"""What a LLaVA's processor must know of images, so that it sees them as we do."""

from typing import Any

from mmjax import config as config_lib
from mmjax.config import Model, Preprocessing, ViT
from mmjax.convert import preprocessing

# Pillow's filters by number; transformers has none like OpenCV's "area", which is
# closest to a cubic one.
_FILTERS = {name: number for number, name in preprocessing.FILTERS.items()} | {
    "area": 3
}


def is_next(way: Preprocessing) -> bool:
    """Whether it is LLaVA-NeXT that sees images so, and not LLaVA."""
    return way.tiling == "anyres"


def problems(way: Preprocessing) -> list[str]:
    """A line for each reason why the processor can't do the same."""
    name = "model.preprocessing"
    if is_next(way):
        lines = [
            f"{name}.{field}=False: LLaVA-NeXT's is True"
            for field in ("unpad", "newline")
            if not getattr(way, field)
        ]
        if way.resize != "warp":
            lines.append(f"{name}.resize={way.resize}: LLaVA-NeXT's is warp")
        return lines
    lines = []
    if way.tiling != "none":
        lines.append(
            f"{name}.tiling={way.tiling}: LLaVA sees an image as one square, "
            "LLaVA-NeXT in tiles of anyres"
        )
    if way.resize not in ("warp", "crop"):
        lines.append(
            f"{name}.resize={way.resize}: the processor of LLaVA can warp or crop"
        )
    return lines


def pinpoints(model: Model) -> list[list[int]]:
    """Height and width in pixels of each grid of tiles."""
    side, grids = model.vit.image_size, config_lib.grids_of(model.preprocessing)
    return [[rows * side, columns * side] for rows, columns in grids]


def files(model: Model, image_token: str) -> dict[str, dict[str, Any]]:
    """The processor's files by name."""
    vit, way = model.vit, model.preprocessing
    square = {"height": vit.image_size, "width": vit.image_size}
    crop, tiled = way.resize == "crop" or is_next(way), is_next(way)
    images = {
        "image_processor_type": f"{'LlavaNext' if tiled else 'CLIP'}ImageProcessor",
        "processor_class": f"Llava{'Next' if tiled else ''}Processor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": vit.image_size} if crop else square,
        "resample": _FILTERS[way.interpolation],
        "do_center_crop": crop,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(vit.mean),
        "image_std": list(vit.std),
        **({"image_grid_pinpoints": pinpoints(model)} if tiled else {}),
    }
    texts = {
        "processor_class": images["processor_class"],
        "patch_size": vit.patch_size,
        "vision_feature_select_strategy": strategy(vit),
        "num_additional_image_tokens": int(vit.class_token),
        "image_token": image_token,
    }
    return {"preprocessor_config.json": images, "processor_config.json": texts}


def strategy(vit: ViT) -> str:
    """Whether LLaVA drops the first token."""
    return "default" if vit.class_token else "full"
