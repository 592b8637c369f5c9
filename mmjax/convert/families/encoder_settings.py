"""The config.json of image encoders, as our fields and back."""

from typing import Any

from mmjax.config import ViT
from mmjax.convert.families.family import Settings

# Their name of an activation: ours. The first of several is the one that export says.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
}


def normalize(said: Settings) -> Settings:
    """Settings with one name for each activation."""
    return {**said, "hidden_act": _their_activation(_activation(said["hidden_act"]))}


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise ValueError(
            f"config.json: hidden_act={name!r}: must be one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def _their_activation(name: str) -> str:
    return next(theirs for theirs, ours in ACTIVATIONS.items() if ours == name)


def read(said: Settings) -> dict[str, Any]:
    return {
        "image_size": said["image_size"],
        "activation": _activation(said["hidden_act"]),
    }


def write(vit: ViT) -> Settings:
    return {
        "image_size": (vit.position_grid * vit.patch_size) or vit.image_size,
        "hidden_act": _their_activation(vit.activation),
    }


def normalize_siglip2(said: Settings) -> Settings:
    side = round(said["num_patches"] ** 0.5)
    return normalize({**said, "image_size": side * said["patch_size"]})


def write_siglip2(vit: ViT) -> Settings:
    written = write(vit)
    side = written["image_size"] // vit.patch_size
    return {**written, "num_patches": side**2}


def read_dinov2(said: Settings) -> dict[str, Any]:
    width, ratio = said["hidden_size"], said["mlp_ratio"]
    hidden, gated = int(width * ratio), bool(said["use_swiglu_ffn"])
    if gated:  # two thirds, in steps of 8
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    return {
        **read(said),
        "activation": "silu" if gated else _activation(said["hidden_act"]),
        "mlp_width": hidden,
        "gated": gated,
        "layer_scale": float(said["layerscale_value"]),
    }


def write_dinov2(vit: ViT) -> Settings:
    settings = {
        **write(vit),
        "use_swiglu_ffn": vit.gated,
        "layerscale_value": vit.layer_scale,
    }
    if vit.gated:  # the activation is that of the gate, which has no setting
        return {**settings, "hidden_act": "gelu"}
    return {**settings, "mlp_ratio": vit.mlp_width / vit.width}


def read_aimv2(said: Settings) -> dict[str, Any]:
    positions = "fixed" if said["is_native"] else "learned"
    return {**read(said), "positions": positions}


def write_aimv2(vit: ViT) -> Settings:
    return {**write(vit), "is_native": vit.positions == "fixed"}


def normalize_open_clip(said: Settings) -> Settings:
    """open_clip's vision_cfg in the words of CLIP's config.json."""
    model = said.get("model_cfg", said)
    vision = model.get("vision_cfg")
    if not isinstance(vision, dict) or not isinstance(vision.get("layers"), int):
        raise ValueError(
            "open_clip_config.json: model_cfg.vision_cfg must describe a ViT, it is "
            f"{vision!r}"
        )
    known = {
        "image_size": vision.get("image_size", 224),
        "num_hidden_layers": vision["layers"],
        "hidden_size": vision["width"],
        "num_attention_heads": vision["width"] // vision.get("head_width", 64),
        "intermediate_size": int(vision["width"] * vision.get("mlp_ratio", 4.0)),
        "patch_size": vision["patch_size"],
        "hidden_act": "quick_gelu" if model.get("quick_gelu") else "gelu",
        "layer_norm_eps": 1e-5,
        "num_channels": 3,
    }
    read_keys = {"image_size", "layers", "width", "head_width", "mlp_ratio"}
    harmless = {"patch_size", "patch_dropout", "pool_type", "output_tokens"}
    other = {k: v for k, v in vision.items() if k not in read_keys | harmless and v}
    if other:
        key, value = next(iter(other.items()))
        raise ValueError(
            f"open_clip_config.json: vision_cfg.{key}={value!r}: not supported"
        )
    return normalize(known)
