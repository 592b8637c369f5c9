"""What a checkpoint holds of a model of ours: an encoder, a decoder, or all of one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmjax import config
from mmjax.config import Connector, CrossAttention, ViT
from mmjax.convert import preprocessing
from mmjax.convert import rules as rules_lib
from mmjax.convert.families import decoders, encoders, family
from mmjax.convert.families.family import Family, Settings
from mmjax.convert.rules import Rule

ENCODERS = {f.kind: f for f in (*encoders.FAMILIES, encoders.OPEN_CLIP)}
DECODERS = {f.kind: f for f in decoders.FAMILIES}
# Models of text and images, by the family of their image encoders.
_TWO_TOWERS = {
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
    "siglip2": "siglip2_vision_model",
    "aimv2": "aimv2_vision_model",
}
WHOLE = ("llava", "llava_next", "paligemma")
NEWLINE = "image_newline"  # LLaVA-NeXT's
_PROJECTORS = ("multi_modal_projector.", "model.multi_modal_projector.")


class Piece(NamedTuple):
    """A part of our model, as a checkpoint has it."""

    name: str  # vit, connector, decoder or preprocessing: its field in config.Model
    config: Any  # ViT, Connector, Decoder or Preprocessing
    rules: list[Rule]
    ignored: Sequence[str]  # patterns of tensors that are of no use here


class Wishes(NamedTuple):
    """What the user decides about a checkpoint's model."""

    features: int | None = None  # the encoder's layer; None: -1, or as in the whole
    image_size: int | None = None  # pixels; None: the encoder's own
    vocab_size: int = 0  # rows of the embedding, at least
    cross_attention: CrossAttention = CrossAttention()  # of the decoder, new
    allow: Sequence[str] = ()  # patterns of settings that may be other than ours


def encoder(
    settings: Settings,
    images: Settings,
    names: Mapping[str, Any],
    wishes: Wishes,
    where: str,
) -> Piece:
    """The image encoder of a checkpoint: its settings, or those of its vision_config.

    Raises ValueError for a family that isn't known and for options that aren't ours.
    """
    kind = settings.get("model_type", "")
    if "model_cfg" in settings or "vision_cfg" in settings:
        kind = "open_clip"
        images = settings.get("preprocess_cfg") or {}
    if kind in _TWO_TOWERS:
        settings = {**settings.get("vision_config", {})}
        kind = _TWO_TOWERS[kind]
    found = _family(ENCODERS, kind, "encoders", where)
    vit = family.read(found, settings, where, wishes.allow, **_pixels(images))
    vit = _resized(vit, wishes.image_size)
    vit.features = -1 if wishes.features is None else wishes.features
    if not -vit.layers <= vit.features <= -1:
        raise ValueError(
            f"--features={vit.features}: must be between -{vit.layers} and -1"
        )
    return _piece("vit", found, vit, names)


def _pixels(images: Settings) -> dict[str, tuple[float, ...]]:
    """Mean and deviation of the channels, where the checkpoint says them."""
    said = {
        "mean": images.get("image_mean", images.get("mean")),
        "std": images.get("image_std", images.get("std")),
    }
    return {name: tuple(value) for name, value in said.items() if value}


def _resized(vit: ViT, image_size: int | None) -> ViT:
    if image_size is None or image_size == vit.image_size:
        return vit
    if image_size % vit.patch_size:
        raise ValueError(
            f"--image_size={image_size}: must be a multiple of the encoder's patches, "
            f"{vit.patch_size}"
        )
    vit.position_grid = vit.image_size // vit.patch_size
    vit.image_size = image_size
    return vit


def decoder(
    settings: Settings, names: Mapping[str, Any], wishes: Wishes, where: str
) -> Piece:
    """The decoder of a checkpoint, its vocabulary as large as wished.

    Raises ValueError as `encoder` does.
    """
    found = _family(DECODERS, settings.get("model_type", ""), "decoders", where)
    part = family.read(found, settings, where, wishes.allow)
    part.vocab_size = max(part.vocab_size, wishes.vocab_size)
    part.cross_attention = dataclasses.replace(wishes.cross_attention)
    return _piece("decoder", found, part, names)


def whole(
    settings: Settings,
    images: Settings,
    names: Mapping[str, Any],
    wishes: Wishes,
    where: str,
) -> list[Piece]:
    """Encoder, connector and decoder of a LLaVA or PaliGemma, and how it sees images.

    The last only where the checkpoint says so, as a piece without parameters.
    Raises ValueError as `encoder` does.
    """
    kind = settings.get("model_type", "")
    if kind not in WHOLE:
        raise ValueError(
            f"{where}: model_type={kind!r}: whole models are {', '.join(WHOLE)}; an "
            "encoder or a decoder alone is named by --encoder or --decoder"
        )
    vision, text = settings.get("vision_config"), settings.get("text_config")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise ValueError(f"{where}: holds no vision_config and text_config")
    vision = {"model_type": "clip_vision_model", **vision}
    if settings.get("tie_word_embeddings"):
        text = {**text, "tie_word_embeddings": True}
    if kind == "paligemma":  # it reads image and prompt in both directions
        text = {"use_bidirectional_attention": True, **text}
    layer = wishes.features
    if layer is None:
        layer = _feature_layer(settings, vision, where)
    vit = encoder(vision, images, names, wishes._replace(features=layer), where)
    language = decoder(text, names, wishes, where)
    connect = _paligemma if kind == "paligemma" else _llava
    pieces = [vit, connect(settings, vit.config, names, where), language]
    seen = preprocessing.read(settings, images, vit.config, where, wishes.allow)
    return pieces + ([] if seen is None else [Piece("preprocessing", seen, [], ())])


def _feature_layer(settings: Settings, vision: Settings, where: str) -> int:
    """Our `features`; the encoder's settings are made to fit.

    LLaVA's layers are never normed. So its last, -1, is here the last but one of an
    encoder of a layer more, which is never built.
    """
    if settings["model_type"] == "paligemma":
        return -1
    layer = settings.get("vision_feature_layer", -2)
    if not isinstance(layer, int):
        raise ValueError(
            f"{where}: vision_feature_layer={layer}: only a single layer is supported"
        )
    kind = vision["model_type"]
    known = ENCODERS[kind].defaults if kind in ENCODERS else {}
    layers = vision.get("num_hidden_layers", known.get("num_hidden_layers", 0))
    if layer >= 0:
        layer -= layers + 1
    if layer == -1:
        vision["num_hidden_layers"] = layers + 1
        return -2
    return layer


def _llava(settings: Settings, vit: ViT, names: Mapping[str, Any], where: str) -> Piece:
    """LLaVA's two layers on every patch; of LLaVA-NeXT the vector that ends rows."""
    strategy = "default" if vit.class_token else "full"
    for key, default, value in (
        ("projector_hidden_act", "gelu", "gelu"),
        ("multimodal_projector_bias", True, True),
        ("vision_feature_select_strategy", "default", strategy),
    ):
        if settings.get(key, default) != value:
            raise ValueError(
                f"{where}: {key}={settings[key]!r}: must be {value!r} here"
            )
    root = _root(_PROJECTORS, "linear_1.weight", names)
    rules = [
        *rules_lib.dense("connector/mlp/up", f"{root}linear_1", bias=True),
        *rules_lib.dense("connector/mlp/down", f"{root}linear_2", bias=True),
    ]
    if settings["model_type"] == "llava_next":
        root = _root(("", "model."), NEWLINE, names)
        rules.append(Rule("connector/newline", root + NEWLINE, rules_lib.AS_IS))
    part = Connector(kind="mlp", tokens=config.patches(vit))
    return Piece("connector", part, rules, ())


def _paligemma(
    settings: Settings, vit: ViT, names: Mapping[str, Any], where: str
) -> Piece:
    """PaliGemma's one layer on every patch."""
    del settings, where
    root = _root(_PROJECTORS, "linear.weight", names)
    rules = rules_lib.dense("connector/project", f"{root}linear", bias=True)
    part = Connector(kind="linear", tokens=config.patches(vit))
    return Piece("connector", part, rules, ())


def _root(roots: Sequence[str], name: str, names: Mapping[str, Any]) -> str:
    return next((root for root in roots if root + name in names), roots[0])


def _family(table: Mapping[str, Family], kind: str, what: str, where: str) -> Family:
    if kind not in table:
        raise ValueError(
            f"{where}: model_type={kind!r}: the {what} that can be read are "
            f"{', '.join(table)}"
        )
    return table[kind]


def _piece(name: str, found: Family, part: Any, names: Mapping[str, Any]) -> Piece:
    root = family.root(found, part, names)
    return Piece(name, part, found.rules(part, root), found.ignored(part))
