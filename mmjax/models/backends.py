"""What a model takes of what its mesh's devices have: attention, and 8-bit products."""

from typing import Any

import jax

from mmjax import config, kernel_rules
from mmjax.ops import quantized, splash

# Devices whose 8-bit products are twice as fast as bfloat16 ones, by words of their
# `device_kind`. Makers' data sheets.
FASTER = {"int8": ("TPU v5", "TPU v6"), "fp8": ("TPU7", "H100", "H200")}


def platform() -> str:
    """Of the devices of the mesh in force; without one, of jax's default."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def decoder(model: config.Model) -> str:
    """Of attention among the tokens of a row."""
    whole = _parts(jax.sharding.get_abstract_mesh()) == 1
    known = whole and not kernel_rules.of_decoder("triton", model)
    return _automatic(model.attention, "triton" if known else "blocked", "blocked")


def cross(model: config.Model) -> str:
    """Of attention to ranges of image tokens, which kernels don't know."""
    return "reference" if model.attention == "reference" else "blocked"


def encoder(vit: config.ViT, dtype: str, prefix: bool = False) -> str:
    """Of attention among an image's patches; with a prefix, kernels aren't for it."""
    if prefix:
        return "reference"
    known = not kernel_rules.of_encoder("cudnn", vit, dtype)
    return _automatic(vit.attention, "cudnn" if known else "reference", "reference")


def _automatic(wanted: str, on_gpus: str, elsewhere: str) -> str:
    if wanted != "auto":
        return wanted
    return {"tpu": "splash", "gpu": on_gpus}.get(platform(), elsewhere)


def _abstract(mesh: Any) -> Any:
    return getattr(mesh, "abstract_mesh", mesh)


def _device(mesh: Any) -> Any:
    """What the mesh's devices are like; None of a mesh without devices."""
    return _abstract(mesh).abstract_device


def chosen(model: config.Model, mesh: Any) -> dict[str, str]:
    """The backend of each part of the model on a mesh, by the config's field for it."""
    prefix = model.objective.kind == "aim"
    with jax.sharding.use_abstract_mesh(_abstract(mesh)):
        parts = {
            f"model.{name}.attention": encoder(vit, model.dtype, prefix)
            for name, vit in config.encoders(model).items()
        }
        return parts if prefix else {**parts, "model.attention": decoder(model)}


def require(model: config.Model, row_tokens: int, mesh: Any) -> None:
    """Raises ValueError for a backend that can't work on the mesh or its devices.

    Of a mesh without devices, which is a plan for other machines, nothing is known.
    Quantized products run anywhere, with the library that makes them.
    """
    for field in quantizations(model):
        quantized.require(field)
    device = _device(mesh)
    if device is None:
        return
    found = device.platform
    for field, backend in chosen(model, mesh).items():
        wanted = kernel_rules.PLATFORMS.get(backend, found)
        if wanted != found:
            raise ValueError(
                f"{field}={backend!r}: is a kernel of {wanted.upper()}s, the mesh's "
                f"devices are of platform {found!r}; 'auto' takes what they have"
            )
    of_rows = chosen(model, mesh).get("model.attention", "")
    _require_parts(of_rows, row_tokens, _parts(mesh))


def _require_parts(backend: str, row_tokens: int, parts: int) -> None:
    """Raises ValueError where a kernel can't work on its part of rows."""
    whole = 2 * splash.LANES * parts  # each device's two pieces fill registers
    if parts > 1 and backend == "splash" and row_tokens % whole:
        raise ValueError(
            f"data.row_tokens={row_tokens}: must be a multiple of {whole} for "
            f"model.attention='splash' with mesh.context={parts}"
        )
    if parts > 1 and backend == "triton":
        raise ValueError(
            f"model.attention='triton': knows whole rows alone, not mesh.context="
            f"{parts}; 'auto' takes what can"
        )


def _parts(mesh: Any) -> int:
    """The devices that a row lies over."""
    return dict(mesh.shape).get("context", 1)


def told(model: config.Model, mesh: Any) -> str:
    """The backends in one line."""
    if _device(mesh) is None:
        return "by the devices that there will be"
    parts = chosen(model, mesh).items()
    return ", ".join(f"{field}={backend}" for field, backend in parts)


def quantizations(model: config.Model) -> dict[str, str]:
    """The kind of each part whose products with weights are quantized, by its field."""
    parts = {**config.encoders(model), "decoder": model.decoder}
    kinds = {f"model.{name}.quantization": p.quantization for name, p in parts.items()}
    return {field: kind for field, kind in kinds.items() if kind != "none"}


def quantized_told(model: config.Model, mesh: Any) -> list[str]:
    """A line of what products with weights are quantized to; none where none is."""
    parts, device = quantizations(model), _device(mesh)
    if not parts:
        return []
    line = ", ".join(f"{field}={kind}" for field, kind in parts.items())
    if device is not None:
        name = device.device_kind
        slow = [
            kind
            for kind in sorted(set(parts.values()))
            if not any(words in name for words in FASTER[kind])
        ]
        if slow:
            line += f"; {name} is not known to be faster at {' and '.join(slow)}"
    return [f"quantized: {line}"]
