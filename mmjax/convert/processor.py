"""What a LLaVA's processor must know of images, so that it sees them as we do."""

from typing import Any

from mmjax.config import Model, Preprocessing, ViT

# Pillow's filters by number; transformers has none like OpenCV's "area", which is
# closest to a cubic one.
_FILTERS = {"area": 3, "bicubic": 3, "bilinear": 2, "lanczos": 1}


def problems(preprocessing: Preprocessing) -> list[str]:
    """A line for each reason why LLaVA's processor can't do the same."""
    lines = []
    if preprocessing.tiling != "none":
        lines.append(
            f"model.preprocessing.tiling={preprocessing.tiling}: LLaVA sees an image "
            "as one square"
        )
    if preprocessing.resize not in ("warp", "crop"):
        lines.append(
            f"model.preprocessing.resize={preprocessing.resize}: the processor of "
            "LLaVA can warp or crop"
        )
    return lines


def files(model: Model, image_token: str) -> dict[str, dict[str, Any]]:
    """The processor's files by name."""
    vit, way = model.vit, model.preprocessing
    square = {"height": vit.image_size, "width": vit.image_size}
    crop = way.resize == "crop"
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "LlavaProcessor",
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
    }
    texts = {
        "processor_class": "LlavaProcessor",
        "patch_size": vit.patch_size,
        "vision_feature_select_strategy": strategy(vit),
        "num_additional_image_tokens": int(vit.class_token),
        "image_token": image_token,
    }
    return {"preprocessor_config.json": images, "processor_config.json": texts}


def strategy(vit: ViT) -> str:
    """Whether LLaVA drops the first token."""
    return "default" if vit.class_token else "full"
