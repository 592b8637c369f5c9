"""A model of ours as a LLaVA or LLaVA-NeXT of transformers: settings, and names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmjax import config
from mmjax.config import Connector, Decoder, Model, ViT
from mmjax.convert import processor
from mmjax.convert import rules as rules_lib
from mmjax.convert.families import encoders, family
from mmjax.convert.families.family import Family, Settings
from mmjax.convert.parts import DECODERS, NEWLINE
from mmjax.convert.rules import Rule
from mmjax.convert.tensor_writer import Pending
from mmjax.ops import positions

# The encoders that LLaVA takes features from as we do.
_ENCODERS = (encoders.CLIP, encoders.SIGLIP)
# Where LLaVA's checkpoints keep the parts.
_TOWER, _PROJECTOR = ("vision_tower.vision_model.",), "multi_modal_projector."
_LANGUAGE = ("language_model.model.", "language_model.")


def decoder_family(decoder: Decoder, kind: str = "") -> Family[Decoder]:
    """The named family, or the first that can say what this decoder is.

    Raises ValueError with the reasons where none can.
    """
    if kind and kind not in DECODERS:
        raise ValueError(f"--family={kind}: must be one of {', '.join(DECODERS)}")
    reasons = []
    for found in (DECODERS[kind],) if kind else DECODERS.values():
        try:
            family.settings_of(found, decoder, "model.decoder")
            return found
        except ValueError as error:
            reasons += str(error).splitlines()[:1]
    raise ValueError("\n".join(["no family of decoders can say it:", *reasons]))


def settings(model: Model, decoder: Family[Decoder], image_id: int) -> Settings:
    """config.json; `image_id` is the token that images take the place of.

    Raises ValueError with every reason why this model is no LLaVA.
    """
    problems = _problems(model)
    if problems:
        raise ValueError("\n".join(problems))
    found, vit = tower(model.vit)
    tiled = processor.is_next(model.preprocessing)
    return {
        "architectures": [f"Llava{'Next' if tiled else ''}ForConditionalGeneration"],
        "model_type": "llava_next" if tiled else "llava",
        **({"image_grid_pinpoints": processor.pinpoints(model)} if tiled else {}),
        "vision_config": family.settings_of(found, vit, "model.vit"),
        "text_config": family.settings_of(decoder, model.decoder, "model.decoder"),
        "tie_word_embeddings": model.decoder.tied_embeddings,
        "image_token_index": image_id,
        "image_seq_length": config.patches(vit),
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": processor.strategy(vit),
    }


def _problems(model: Model) -> list[str]:
    problems = []
    if model.connector.kind != "mlp":
        problems.append(
            f"model.connector.kind={model.connector.kind}: LLaVA knows the mlp "
            "connector alone; --decoder_only exports the decoder"
        )
    else:
        wanted = Connector(kind="mlp", tokens=config.patches(model.vit))
        names = ("mlp_depth", "mlp_expand", "prenorm")
        problems += [
            f"model.connector.{name}={getattr(model.connector, name)}: LLaVA's is "
            f"{getattr(wanted, name)}"
            for name in names
            if getattr(model.connector, name) != getattr(wanted, name)
        ]
    problems += processor.problems(model.preprocessing)
    if model.second_vit.enabled:
        problems.append("model.second_vit.enabled=True: LLaVA has one encoder")
    if model.vit.features == -1:
        problems.append(
            "model.vit.features=-1: LLaVA takes a layer's outputs without the last "
            "norm, features must be -2 or less"
        )
    try:
        tower(model.vit)
    except ValueError as error:
        problems += str(error).splitlines()
    return problems


def tower(vit: ViT) -> tuple[Family[ViT], ViT]:
    """The family of the encoder, and the encoder as one of that family.

    It has no more layers than are built, so that LLaVA takes the last one, and
    positions of its own grid. Pixels' mean and deviation are the processor's matter.
    Raises ValueError with the reasons where it is of no family.
    """
    cut = dataclasses.replace(
        vit, layers=config.encoder_layers(vit), features=-1, position_grid=0
    )
    reasons = []
    for found in _ENCODERS:
        usual = ViT(**found.fixed)
        free = {n: getattr(usual, n) for n in ("position_resize", "mean", "std")}
        one = dataclasses.replace(cut, **free)
        try:
            family.settings_of(found, one, "model.vit")
            return found, one
        except ValueError as error:
            reasons += str(error).splitlines()[:1]
    raise ValueError("\n".join(reasons))


def rules(model: Model, decoder: Family[Decoder]) -> list[Rule]:
    """Where LLaVA keeps our parameters."""
    found, vit = tower(model.vit)
    without_norm = dataclasses.replace(vit, layers=vit.layers + 1, features=-2)
    tiled = processor.is_next(model.preprocessing)
    newline = [Rule("connector/newline", NEWLINE, rules_lib.AS_IS)] if tiled else []
    return [
        *newline,
        *found.rules(without_norm, _TOWER),
        *rules_lib.dense("connector/mlp/up", f"{_PROJECTOR}linear_1", bias=True),
        *rules_lib.dense("connector/mlp/down", f"{_PROJECTOR}linear_2", bias=True),
        *decoder.rules(model.decoder, _LANGUAGE),
    ]


def unused_norm(model: Model) -> list[Pending]:
    """The encoder's last norm, which LLaVA holds but doesn't apply."""
    width, name = model.vit.width, f"{_TOWER[0]}post_layernorm"
    kind, shape = np.dtype(np.float32), (model.vit.width,)
    return [
        Pending(f"{name}.weight", shape, kind, lambda: np.ones(width, kind)),
        Pending(f"{name}.bias", shape, kind, lambda: np.zeros(width, kind)),
    ]


def with_own_positions(model: Model, params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters whose table of positions is resized as the model does it."""
    vit, side = model.vit, model.vit.image_size // model.vit.patch_size
    if vit.position_grid in (0, side):
        return dict(params)
    table_PE = params["vit/positions"]
    resized = positions.resize(table_PE, (side, side), vit.position_resize)
    return {**params, "vit/positions": resized.astype(table_PE.dtype)}
