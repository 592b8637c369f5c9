"""Which backend of attention each part of a model takes: by the devices of its mesh."""

from typing import Any

import jax

from mmjax import config
from mmjax.ops import splash


def platform() -> str:
    """Of the devices of the mesh in force; without one, of jax's default."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def decoder(model: config.Model) -> str:
    """Of attention among the tokens of a row."""
    return _automatic(model.attention, "blocked")


def cross(model: config.Model) -> str:
    """Of attention to ranges of image tokens, which kernels don't know."""
    return "reference" if model.attention == "reference" else "blocked"


def encoder(vit: config.ViT, prefix: bool = False) -> str:
    """Of attention among an image's patches; with a prefix, kernels aren't for it."""
    return "reference" if prefix else _automatic(vit.attention, "reference")


def _automatic(wanted: str, elsewhere: str) -> str:
    if wanted != "auto":
        return wanted
    return "splash" if platform() == "tpu" else elsewhere


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
            f"model.{name}.attention": encoder(vit, prefix)
            for name, vit in config.encoders(model).items()
        }
        return parts if prefix else {**parts, "model.attention": decoder(model)}


def require(model: config.Model, row_tokens: int, mesh: Any) -> None:
    """Raises ValueError for a backend that can't work on the mesh or its devices.

    Of a mesh without devices, which is a plan for other machines, nothing is known.
    """
    device = _device(mesh)
    found = "tpu" if device is None else device.platform
    for field, backend in chosen(model, mesh).items():
        if backend == "splash" and found != "tpu":
            raise ValueError(
                f"{field}='splash': is a kernel of TPUs, the mesh's devices are of "
                f"platform {found!r}; 'auto' takes what they have"
            )
        kernel_of_rows = field == "model.attention" and backend == "splash"
        parts = mesh.shape["context"]
        whole = 2 * splash.LANES * parts  # each device's two pieces fill registers
        if kernel_of_rows and parts > 1 and row_tokens % whole:
            raise ValueError(
                f"data.row_tokens={row_tokens}: must be a multiple of {whole} for "
                f"{field}='splash' with mesh.context={parts}"
            )


def told(model: config.Model, mesh: Any) -> str:
    """The backends in one line."""
    if _device(mesh) is None:
        return "by the devices that there will be"
    parts = chosen(model, mesh).items()
    return ", ".join(f"{field}={backend}" for field, backend in parts)
