"""The rules that the model of a config obeys, part by part."""

from mmjax.config import Model


def problems(model: Model, row_tokens: int) -> list[str]:
    """One line a broken rule, for rows of so many tokens."""
    return [
        *_encoder_problems(model),
        *_decoder_problems(model),
        *_row_problems(model, row_tokens),
    ]


def divides(name: str, small: int, large_name: str, large: int) -> list[str]:
    """The line of a number that doesn't divide another."""
    if small > 0 and large % small == 0:
        return []
    return [f"{name}={small}: must divide {large_name}={large}"]


def _encoder_problems(model: Model) -> list[str]:
    vit = model.vit
    problems = [
        *divides(
            "model.vit.patch_size", vit.patch_size,
            "model.vit.image_size", vit.image_size,
        ),
        *divides("model.vit.heads", vit.heads, "model.vit.width", vit.width),
    ]  # fmt: skip
    if vit.width % 4:
        problems.append(
            f"model.vit.width={vit.width}: must be a multiple of 4 (2-D positions)"
        )
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
    return problems


def _row_problems(model: Model, row_tokens: int) -> list[str]:
    problems = divides(
        "model.loss_chunk", min(model.loss_chunk, row_tokens),
        "data.row_tokens", row_tokens,
    )  # fmt: skip
    if row_tokens < model.connector.tokens + 2:
        problems.append(
            f"data.row_tokens={row_tokens}: must hold an image of "
            f"{model.connector.tokens} tokens and 2 more"
        )
    return problems
