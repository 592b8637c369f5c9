"""What a LLaVA's processor must know of images, so that it sees them as we do."""

from typing import Any

from mmjax.config import ViT
from mmjax.convert import llava


def files(vit: ViT, image_token: str) -> dict[str, dict[str, Any]]:
    """The processor's files by name: images are resized to the square, not cut."""
    side = {"height": vit.image_size, "width": vit.image_size}
    images = {
        "image_processor_type": "CLIPImageProcessor",
        "processor_class": "LlavaProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": side,
        "resample": 3,  # cubic
        "do_center_crop": False,
        "crop_size": side,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(vit.mean),
        "image_std": list(vit.std),
    }
    texts = {
        "processor_class": "LlavaProcessor",
        "patch_size": vit.patch_size,
        "vision_feature_select_strategy": llava.strategy(vit),
        "num_additional_image_tokens": int(vit.class_token),
        "image_token": image_token,
    }
    return {"preprocessor_config.json": images, "processor_config.json": texts}
