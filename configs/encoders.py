"""Published image encoders by name, in the dimensions of their weights.

`model.vit = encoders.ENCODERS["siglip_so400m_14_384"]()`; `second` makes an encoder
that stands beside the first. `features` is -1 throughout: LLaVA reads -2 of CLIP,
Prismatic -2 of both of its encoders.
"""

import dataclasses
import functools
from collections.abc import Callable

from mmjax.config import SecondViT, ViT

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def second(vit: ViT) -> SecondViT:
    """An encoder for `model.second_vit`."""
    return SecondViT(**dataclasses.asdict(vit), enabled=True)


def clip(
    image_size: int, width: int, layers: int, heads: int, activation: str = "quick_gelu"
) -> ViT:
    """CLIP's (arXiv 2103.00020), also with weights of DFN and of open_clip."""
    return ViT(
        image_size=image_size,
        patch_size=14,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=4 * width,
        activation=activation,
        embedding_norm="tokens",
        patch_bias=False,
        class_token=True,
        position_resize="torch_bicubic",
    )


def siglip_so400m(image_size: int) -> ViT:
    """SigLIP's and SigLIP 2's shape-optimized one (arXiv 2303.15343, 2502.14786).

    Of 384 pixels, 27 patches of 14 cover 378: images are better resized to those.
    """
    return ViT(
        image_size=image_size // 14 * 14,
        patch_size=14,
        width=1152,
        layers=27,
        heads=16,
        mlp_width=4304,
        activation="gelu_tanh",
        norm_eps=1e-6,
        position_resize="torch_bicubic",
        **HALF,
    )


def dinov2(
    width: int, layers: int, heads: int, registers: int, gated: bool = False
) -> ViT:
    """DINOv2's (arXiv 2304.07193), with registers as of arXiv 2309.16588.

    Positions were learned at 518 pixels, a grid of 37 x 37.
    """
    return ViT(
        image_size=518,
        patch_size=14,
        width=width,
        layers=layers,
        heads=heads,
        mlp_width=8 * width // 3 if gated else 4 * width,
        activation="silu" if gated else "gelu",
        gated=gated,
        norm_eps=1e-6,
        layer_scale=1e-5,
        class_token=True,
        registers=registers,
        position_grid=37,
        position_resize="cubic" if registers else "torch_bicubic",
        **IMAGENET,
    )


def aim(width: int, heads: int) -> ViT:
    """AIM's (arXiv 2401.08541), attending both ways as after pretraining."""
    return ViT(
        image_size=224,
        patch_size=14,
        width=width,
        layers=24,
        heads=heads,
        mlp_width=4 * width,
        activation="gelu",
        norm_eps=1e-6,
        embedding_norm="patches",
        attention_bias=False,
        mlp_bias=False,
        positions="fixed",
        **IMAGENET,
    )


def aimv2(image_size: int, width: int, mlp_width: int, positions="learned") -> ViT:
    """AIMv2's (arXiv 2411.14402); `fixed` positions are of its native resolution."""
    return ViT(
        image_size=image_size,
        patch_size=14,
        width=width,
        layers=24,
        heads=width // 128,
        mlp_width=mlp_width,
        activation="silu",
        gated=True,
        norm="rms",
        embedding_norm="patches",
        attention_bias=False,
        mlp_bias=False,
        positions=positions,
    )


_of = functools.partial

ENCODERS: dict[str, Callable[[], ViT]] = {
    "clip_vit_l_14_224": _of(clip, 224, 1024, 24, 16),
    "clip_vit_l_14_336": _of(clip, 336, 1024, 24, 16),
    "dfn_vit_h_14_224": _of(clip, 224, 1280, 32, 16),
    "dfn_vit_h_14_378": _of(clip, 378, 1280, 32, 16),
    "siglip_so400m_14_224": _of(siglip_so400m, 224),
    "siglip_so400m_14_384": _of(siglip_so400m, 384),
    "siglip2_so400m_14_224": _of(siglip_so400m, 224),
    "siglip2_so400m_14_384": _of(siglip_so400m, 384),
    "dinov2_b_14": _of(dinov2, 768, 12, 12, 0),
    "dinov2_l_14": _of(dinov2, 1024, 24, 16, 0),
    "dinov2_g_14": _of(dinov2, 1536, 40, 24, 0, gated=True),
    "dinov2_b_14_registers": _of(dinov2, 768, 12, 12, 4),
    "dinov2_l_14_registers": _of(dinov2, 1024, 24, 16, 4),
    "dinov2_g_14_registers": _of(dinov2, 1536, 40, 24, 4, gated=True),
    "aim_600m_14_224": _of(aim, 1536, 12),
    "aim_1b_14_224": _of(aim, 2048, 16),
    "aim_3b_14_224": _of(aim, 3072, 24),
    "aimv2_l_14_224": _of(aimv2, 224, 1024, 2816),
    "aimv2_l_14_336": _of(aimv2, 336, 1024, 2816),
    "aimv2_l_14_native": _of(aimv2, 448, 1024, 2816, "fixed"),
    "aimv2_h_14_224": _of(aimv2, 224, 1536, 4096),
    "aimv2_h_14_336": _of(aimv2, 336, 1536, 4096),
    "aimv2_1b_14_224": _of(aimv2, 224, 2048, 5632),
    "aimv2_1b_14_336": _of(aimv2, 336, 2048, 5632),
    "aimv2_3b_14_224": _of(aimv2, 224, 3072, 8192),
    "aimv2_3b_14_336": _of(aimv2, 336, 3072, 8192),
}
