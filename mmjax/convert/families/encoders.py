"""The image encoders: CLIP, SigLIP, DINOv2, AIMv2, and CLIP as open_clip keeps it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from mmjax.config import ViT
from mmjax.convert.families import encoder_rules, encoder_settings
from mmjax.convert.families.family import Family

_FIELDS = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "patch_size": "patch_size",
    "norm_eps": "layer_norm_eps",
}
_DEFAULTS = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "num_channels": 3,
}
_HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Where the encoder's names begin: alone, in CLIP and SigLIP with their text, in LLaVA.
_ROOTS = tuple(
    (name,)
    for name in (
        "",
        "vision_model.",
        "vision_tower.",
        "vision_tower.vision_model.",
        "model.vision_tower.",
        "model.vision_tower.vision_model.",
    )
)
# What CLIP and SigLIP hold besides, and old buffers.
_BESIDE = (
    r"(.*\.)?position_ids",
    r"text_model\..*",
    r"(text|visual)_projection\..*",
    r"logit_(scale|bias)",
)


def _ignored(layer: str, final: str, *others: str) -> Callable[[ViT], Sequence[str]]:
    def patterns(vit: ViT) -> Sequence[str]:
        beyond = encoder_rules.beyond(vit, r"(.*\.)?" + layer, r"(.*\.)?" + final)
        return (*_BESIDE, *others, *beyond)

    return patterns


_family = functools.partial(
    Family,
    part=ViT,
    fields=_FIELDS,
    normalize=encoder_settings.normalize,
    read=encoder_settings.read,
    write=encoder_settings.write,
    roots=_ROOTS,
)
_SIGLIP: dict[str, Any] = {
    "constants": {"num_channels": 3},
    "rules": encoder_rules.hugging_face,
    "ignored": _ignored(
        r"encoder\.layers\.{}", r"post_layernorm\..*", r"(.*\.)?head\..*"
    ),
    "extra": {"vision_use_head": False},
}
CLIP = _family(
    "clip_vision_model",
    "CLIPVisionModel",
    defaults={
        **_DEFAULTS,
        "patch_size": 32,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    constants={"num_channels": 3},
    fixed={
        "class_token": True,
        "embedding_norm": "tokens",
        "patch_bias": False,
        "position_resize": "torch_bicubic",
    },
    rules=encoder_rules.hugging_face,
    ignored=_ignored(r"encoder\.layers\.{}", r"post_layernorm\..*"),
)
SIGLIP = _family(
    "siglip_vision_model",
    "SiglipVisionModel",
    defaults={**_DEFAULTS, "hidden_act": "gelu_pytorch_tanh"},
    fixed={**_HALF, "position_resize": "torch_bicubic"},
    **_SIGLIP,
)
_DINOV2: dict[str, Any] = {
    "fields": {k: v for k, v in _FIELDS.items() if k != "mlp_width"},
    "constants": {"num_channels": 3, "qkv_bias": True, "apply_layernorm": True},
    "normalize": encoder_settings.normalize,
    "read": encoder_settings.read_dinov2,
    "write": encoder_settings.write_dinov2,
    "rules": encoder_rules.dinov2,
    "ignored": _ignored(r"encoder\.layer\.{}", r"layernorm\..*", r"(.*\.)?mask_token"),
}
_DINOV2_DEFAULTS = {
    **_DEFAULTS,
    "patch_size": 14,
    "mlp_ratio": 4,
    "layerscale_value": 1.0,
    "use_swiglu_ffn": False,
}
FAMILIES = (
    CLIP,
    SIGLIP,
    _family(
        "siglip2_vision_model",
        "Siglip2VisionModel",
        defaults={
            **_DEFAULTS,
            "hidden_act": "gelu_pytorch_tanh",
            "num_patches": 256,
        },
        fixed={**_HALF, "position_resize": "linear"},
        **{
            **_SIGLIP,
            "rules": encoder_rules.siglip2,
            "normalize": encoder_settings.normalize_siglip2,
            "write": encoder_settings.write_siglip2,
        },
    ),
    _family(
        "dinov2",
        "Dinov2Model",
        defaults=_DINOV2_DEFAULTS,
        fixed={**_IMAGENET, "class_token": True, "position_resize": "torch_bicubic"},
        **_DINOV2,
    ),
    _family(
        "dinov2_with_registers",
        "Dinov2WithRegistersModel",
        defaults={**_DINOV2_DEFAULTS, "patch_size": 16, "num_register_tokens": 4},
        fixed={**_IMAGENET, "class_token": True, "position_resize": "cubic"},
        **{
            **_DINOV2,
            "fields": {**_DINOV2["fields"], "registers": "num_register_tokens"},
        },
    ),
    _family(
        "aimv2_vision_model",
        "Aimv2VisionModel",
        fields={
            **_FIELDS,
            "norm_eps": "rms_norm_eps",
            "attention_bias": "qkv_bias",
            "mlp_bias": "mlp_bias",
        },
        defaults={
            **_DEFAULTS,
            "hidden_size": 1024,
            "intermediate_size": 2816,
            "num_hidden_layers": 24,
            "num_attention_heads": 8,
            "patch_size": 14,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "qkv_bias": False,
            "mlp_bias": False,
            "is_native": False,
        },
        constants={"num_channels": 3},
        fixed={
            "norm": "rms",
            "embedding_norm": "patches",
            "gated": True,
            "position_resize": "linear",
        },
        read=encoder_settings.read_aimv2,
        write=encoder_settings.write_aimv2,
        rules=encoder_rules.aimv2,
        ignored=_ignored(
            r"encoder\.layers\.{}", r"rms_norm\..*", r"(.*\.)?head\..*",
            r"text_model\..*",
        ),
        extra={"use_head": False},
    ),
)  # fmt: skip
# Read only: export writes CLIP, which is the same model.
OPEN_CLIP = dataclasses.replace(
    CLIP,
    kind="open_clip",
    architecture="",
    normalize=encoder_settings.normalize_open_clip,
    rules=encoder_rules.open_clip,
    roots=(("visual.",), ("module.visual.",)),
    ignored=lambda vit: (
        r"(module\.)?visual\.proj",
        r"(module\.)?(transformer|token_embedding|ln_final|text)\..*",
        r"(module\.)?(positional_embedding|text_projection|logit_scale|attn_mask)",
        r"(module\.)?logit_bias",
        *encoder_rules.beyond(
            vit, r"visual\.transformer\.resblocks\.{}", r"visual\.ln_post\..*"
        ),
    ),
)
