"""What kernels of attention are for, and the rules of a model that names one."""

from collections.abc import Mapping

from mmjax import config as config_lib
from mmjax.config import Model, ViT

# The platform, as jax calls it, that a kernel runs on; the other backends run anywhere.
PLATFORMS: Mapping[str, str] = {"cudnn": "gpu", "splash": "tpu", "triton": "gpu"}


def problems(model: Model) -> list[str]:
    """One line for each kernel that is named and can't do what it is for."""
    named = {
        f"model.{name}.attention": (vit.attention, vit)
        for name, vit in config_lib.encoders(model).items()
    }
    why = {
        (field, kernel): of_encoder(kernel, vit, model.dtype)
        or of_aim(kernel, model.objective.kind)
        for field, (kernel, vit) in named.items()
    }
    why["model.attention", model.attention] = of_decoder(model.attention, model)
    return [
        f"{field}={kernel!r}: {reason}; 'auto' takes what can"
        for (field, kernel), reason in why.items()
        if reason
    ]


def of_decoder(kernel: str, model: Model) -> str:
    """Why a kernel isn't for the rows of a model; "" where it is, or is no kernel."""
    if kernel == "cudnn":
        return "knows no segments, so documents of a row would see each other"
    if kernel != "triton":
        return ""
    for name in "window", "attention_softcap":
        if asked := getattr(model.decoder, name):
            return f"doesn't know model.decoder.{name}={asked}"
    return _of_dtype(model.dtype)


def of_encoder(kernel: str, vit: ViT, dtype: str) -> str:
    """Likewise for an image's patches."""
    size = vit.width // vit.heads
    if kernel == "cudnn" and (size % 8 or size > 128):
        return f"takes heads of a multiple of 8 and at most 128 numbers, not of {size}"
    return _of_dtype(dtype) if PLATFORMS.get(kernel) == "gpu" else ""


def of_aim(kernel: str, objective: str) -> str:
    """Likewise for patches that see a prefix of their image."""
    known = kernel not in PLATFORMS or objective != "aim"
    return "" if known else "doesn't know the prefixes of model.objective.kind='aim'"


def _of_dtype(dtype: str) -> str:
    return "" if dtype == "bfloat16" else f"is for bfloat16, not model.dtype={dtype!r}"
