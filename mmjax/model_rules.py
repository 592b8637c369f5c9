"""The rules that the model of a config obeys, part by part."""

import math

from mmjax import config as config_lib
from mmjax import kernel_rules
from mmjax.config import Decoder, Model, Preprocessing, ViT

MAPPED = ("unpad", "newline")  # options of preprocessing that make tiles one picture


def problems(model: Model, row_tokens: int) -> list[str]:
    """One line a broken rule, for rows of so many tokens."""
    return [
        *_encoder_problems(model),
        *_decoder_problems(model),
        *_splash_problems(model),
        *kernel_rules.problems(model),
        *tiling_problems(model.preprocessing),
        *_moe_problems(model),
        *_cross_problems(model),
        *_objective_problems(model),
        *_row_problems(model, row_tokens),
    ]


def divides(name: str, small: int, large_name: str, large: int) -> list[str]:
    """The line of a number that doesn't divide another."""
    if small > 0 and large % small == 0:
        return []
    return [f"{name}={small}: must divide {large_name}={large}"]


def encoder_choices(model: Model) -> list[tuple[str, str, tuple[str, ...]]]:
    """(field, value, alternatives) of both encoders."""
    return [
        (f"model.{name}.{field}", getattr(vit, field), alternatives)
        for name, vit in (("vit", model.vit), ("second_vit", model.second_vit))
        for field, alternatives in (
            ("activation", config_lib.ACTIVATIONS),
            ("norm", config_lib.VIT_NORMS),
            ("embedding_norm", config_lib.EMBEDDING_NORMS),
            ("positions", config_lib.POSITIONS),
            ("position_resize", config_lib.RESIZES),
            ("attention", config_lib.VIT_ATTENTIONS),
            ("remat", config_lib.REMATS),
            ("quantization", config_lib.QUANTIZATIONS),
        )
    ]


def _encoder_problems(model: Model) -> list[str]:
    vits = config_lib.encoders(model)
    problems = [line for name, vit in vits.items() for line in _vit_problems(name, vit)]
    grids = {
        name: f"{vit.image_size // vit.patch_size} x {vit.image_size // vit.patch_size}"
        for name, vit in vits.items()
    }
    if len(set(grids.values())) > 1:
        problems.append(
            f"model.second_vit: {grids['second_vit']} patches, must be as many as "
            f"model.vit has, {grids['vit']} (features are joined patch by patch)"
        )
    return problems


def _vit_problems(name: str, vit: ViT) -> list[str]:
    """The broken rules of one encoder, called `name` in the model."""
    name = f"model.{name}"
    problems = [
        *divides(
            f"{name}.patch_size", vit.patch_size,
            f"{name}.image_size", vit.image_size,
        ),
        *divides(f"{name}.heads", vit.heads, f"{name}.width", vit.width),
    ]  # fmt: skip
    if vit.width % 4:
        problems.append(
            f"{name}.width={vit.width}: must be a multiple of 4 (2-D positions)"
        )
    if not -vit.layers <= vit.features <= -1:
        problems.append(
            f"{name}.features={vit.features}: must be between -{vit.layers}, the first "
            "layer, and -1, the last"
        )
    if vit.position_grid and vit.positions == "fixed":
        problems.append(
            f"{name}.position_grid={vit.position_grid}: must be 0 with fixed positions,"
            " which are made for the image's own grid"
        )
    for field, low in ("mean", -math.inf), ("std", 0.0):
        values = getattr(vit, field)
        if len(values) != 3 or min(values) <= low:
            rule = "three numbers" if field == "mean" else "three positive numbers"
            problems.append(f"{name}.{field}={values}: must be {rule}, one a channel")
    return problems


def _decoder_problems(model: Model) -> list[str]:
    decoder = model.decoder
    problems = divides(
        "model.decoder.kv_heads", decoder.kv_heads,
        "model.decoder.heads", decoder.heads,
    )  # fmt: skip
    if decoder.head_size % 2:
        problems.append(
            f"model.decoder.head_size={decoder.head_size}: must be even (rotary)"
        )
    return [*problems, *_window_problems(decoder), *_rope_problems(decoder)]


def _splash_problems(model: Model) -> list[str]:
    """Of the kernel's blocks."""
    return [
        f"model.splash.{name}={size}: must be a multiple of 128, as the kernel's "
        "registers are"
        for name, size in vars(model.splash).items()
        if size % 128
    ]


def _window_problems(decoder: Decoder) -> list[str]:
    problems = []
    if decoder.global_every == 1:
        problems.append(
            "model.decoder.global_every=1: must be 0 or at least 2 (for a decoder "
            "without local layers, set model.decoder.window=0)"
        )
    problems += [
        f"model.decoder.{name}={getattr(decoder, name)}: needs layers with a window "
        "(model.decoder.window is 0)"
        for name in ("global_every", "local_rope_theta")
        if getattr(decoder, name) and not decoder.window
    ]
    return problems


def _rope_problems(decoder: Decoder) -> list[str]:
    scaling, name = decoder.rope_scaling, "model.decoder.rope_scaling"
    problems = []
    if scaling.factor < 1:
        problems.append(f"{name}.factor={scaling.factor}: must be at least 1")
    if scaling.slow >= scaling.fast:
        problems.append(
            f"{name}.slow={scaling.slow}: must be less than {name}.fast={scaling.fast}"
        )
    return problems


def tiling_problems(preprocessing: Preprocessing) -> list[str]:
    """Of grids, and of their fit to a tiling."""
    tiling, grids = preprocessing.tiling, preprocessing.grids
    if tiling not in config_lib.TILINGS:
        allowed = ", ".join(config_lib.TILINGS)
        return [f"model.preprocessing.tiling={tiling!r}: must be one of {allowed}"]
    field = f"model.preprocessing.grids={grids}"
    if tiling == "none" and grids:
        return [f"{field}: must be empty with model.preprocessing.tiling='none'"]
    pairs = all(len(grid) == 2 and min(grid) >= 1 for grid in grids)
    if not pairs or len(set(grids)) < len(grids):
        return [f"{field}: must be pairs of rows and columns from 1 on, each different"]
    square = all(rows == columns for rows, columns in grids)
    if tiling == "mm1" and (len(grids) > 1 or not square):
        return [f"{field}: the mm1 tiling has one grid of as many rows as columns"]
    return [
        f"model.preprocessing.{name}=True: needs model.preprocessing.tiling='anyres', "
        f"whose tiles are one picture; it is {tiling!r}"
        for name in MAPPED
        if getattr(preprocessing, name) and tiling != "anyres"
    ]


def _moe_problems(model: Model) -> list[str]:
    moe, name = model.decoder.moe, "model.decoder.moe"
    if not moe.experts:
        return []
    problems = []
    quantization = model.decoder.quantization
    if quantization != "none":
        problems.append(
            f"model.decoder.quantization={quantization!r}: must be 'none' with "
            f"{name}.experts={moe.experts}, whose products aren't quantized"
        )
    if moe.top_k > moe.experts:
        problems.append(
            f"{name}.top_k={moe.top_k}: must not exceed {name}.experts={moe.experts}"
        )
    if moe.every > model.decoder.layers:
        problems.append(
            f"{name}.every={moe.every}: must not exceed model.decoder.layers="
            f"{model.decoder.layers}, or no layer has experts"
        )
    return problems


def _cross_problems(model: Model) -> list[str]:
    cross, name = model.decoder.cross_attention, "model.decoder.cross_attention"
    problems = []
    if cross.every > model.decoder.layers:
        problems.append(
            f"{name}.every={cross.every}: must not exceed model.decoder.layers="
            f"{model.decoder.layers}, or no layer attends to images"
        )
    tiling = model.preprocessing.tiling
    if cross.every and cross.images == "last" and tiling != "none":
        problems.append(
            f"{name}.images='last': would see the last tile of an image alone, must be "
            f"'all_before' with model.preprocessing.tiling={tiling!r}"
        )
    problems += [
        f"model.preprocessing.{option}=True: needs image tokens that stand in rows, "
        f"with {name}.every={cross.every} they don't"
        for option in MAPPED
        if cross.every and getattr(model.preprocessing, option)
    ]
    return problems


def _objective_problems(model: Model) -> list[str]:
    objective, problems = model.objective, []
    kind = f"model.objective.kind={objective.kind!r}"
    if objective.kind != "next_token":
        if model.second_vit.enabled:
            problems.append(f"{kind}: trains model.vit, disable model.second_vit")
        if model.preprocessing.tiling != "none":
            problems.append(
                f"model.preprocessing.tiling={model.preprocessing.tiling!r}: must be "
                f"'none' ({kind}: an image is one crop)"
            )
        if model.decoder.moe.experts:
            problems.append(
                f"model.decoder.moe.experts={model.decoder.moe.experts}: must be 0 "
                f"({kind}: its loss has no term of the routers)"
            )
        if model.z_loss:
            problems.append(f"model.z_loss={model.z_loss}: must be 0 ({kind})")
        every = model.decoder.cross_attention.every
        if every:
            problems.append(
                f"model.decoder.cross_attention.every={every}: must be 0 ({kind}: no "
                "token of text looks at images)"
            )
    if objective.kind == "contrastive":
        contrast = objective.contrast
        if contrast.pool == "class_token" and not model.vit.class_token:
            problems.append(
                "model.objective.contrast.pool='class_token': needs an encoder that "
                "has one, model.vit.class_token=True"
            )
        if not model.decoder.tied_embeddings:
            problems.append(
                f"{kind}: makes no logits, set model.decoder.tied_embeddings=True"
            )
        if contrast.scale > contrast.max_scale:
            problems.append(
                f"model.objective.contrast.scale={contrast.scale}: must be at most "
                f"max_scale={contrast.max_scale}"
            )
    if objective.kind == "aim" and config_lib.patches(model.vit) < 2:
        problems.append(f"{kind}: needs images of at least 2 patches")
    return problems


def _row_problems(model: Model, row_tokens: int) -> list[str]:
    problems = divides(
        "model.loss_chunk", min(model.loss_chunk, row_tokens),
        "data.row_tokens", row_tokens,
    )  # fmt: skip
    if tiling_problems(model.preprocessing):
        return problems
    crops, tokens = config_lib.most_crops(model), config_lib.most_positions(model)
    if row_tokens < tokens + 2:
        of = f" ({crops} crops)" if crops > 1 else ""
        problems.append(
            f"data.row_tokens={row_tokens}: must hold an image of {tokens} tokens{of} "
            "and 2 more"
        )
    return problems
