"""FLOPs of the connectors for one image: every matrix product of each kind.

What is no matrix product (norms, activations, the depthwise convolutions: less than 1 %
of a C-Abstractor) doesn't count, as elsewhere in `mmjax.flops`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from mmjax import config as config_lib
from mmjax.config import Model

ENCODERS = ("vit/", "second_vit/")  # prefixes of the encoders' parameters
ENTRY = (*ENCODERS, "connector/norm/", "connector/positions")  # before the first kernel
BOTH = (*ENCODERS, "connector/")
CONSTANT = "constant"  # a kernel that is no parameter, such as pooling's


class Part(NamedTuple):
    """One matrix product of one image."""

    forward: float  # FLOPs
    kernel: str  # path of the parameter in it; "" between two activations
    upstream: tuple[str, ...]  # prefixes of parameters that its other input depends on


def parts(model: Model) -> list[Part]:
    """Every matrix product of the connector for one image."""
    return KINDS[model.connector.kind](model)


def forward(model: Model) -> float:
    """FLOPs of the connector for one image, without the backward pass."""
    return sum(part.forward for part in parts(model))


def _kernels(
    kernels: str, size: float, vectors: float, upstream: tuple[str, ...] = BOTH
) -> list[Part]:
    """Products of `vectors` vectors with kernels of `size` elements.

    `kernels` is a folder of the parameters and names in it: "connector/mlp up down".
    """
    folder, *names = kernels.split()
    return [
        Part(2 * vectors * size, f"{folder}/{name}/kernel", upstream) for name in names
    ]


def _projection(
    model: Model, inputs: int, vectors: float, upstream: tuple[str, ...]
) -> list[Part]:
    """The linear layers that a connector ends in."""
    found: list[Part] = []
    for name, width, outputs in config_lib.projection(model, inputs):
        above = BOTH if found else upstream
        found += _kernels(f"connector/mlp {name}", width * outputs, vectors, above)
    return found


def _pooling(model: Model, width: int, upstream: tuple[str, ...]) -> list[Part]:
    """Rows, then columns of the grid of patches."""
    grid = math.isqrt(config_lib.patches(model.vit))
    side = math.isqrt(model.connector.tokens)
    sizes = (side * grid * grid * width, side * side * grid * width)
    return [Part(2 * size, CONSTANT, upstream) for size in sizes]


def _linear(model: Model) -> list[Part]:
    size = config_lib.encoder_width(model) * model.decoder.width
    return _kernels("connector project", size, config_lib.patches(model.vit), ENTRY)


def _merged(model: Model) -> list[Part]:
    """One token of P / Q patches; of one patch for the mlp."""
    tokens = model.connector.tokens
    together = config_lib.patches(model.vit) // tokens
    return _projection(model, together * config_lib.encoder_width(model), tokens, ENTRY)


def _average_pool(model: Model) -> list[Part]:
    width = config_lib.encoder_width(model)
    size = width * model.decoder.width
    return [
        *_pooling(model, width, ENTRY),
        *_kernels("connector project", size, model.connector.tokens, ENTRY),
    ]


def _perceiver(model: Model) -> list[Part]:
    connector, width = model.connector, model.decoder.width
    inputs, depth = config_lib.encoder_width(model), connector.depth
    patches, tokens = config_lib.patches(model.vit), connector.tokens
    found, sources = [], patches
    if connector.queries_as_keys:
        found = _kernels("connector project", inputs * width, patches, ENCODERS)
        inputs, sources = width, patches + tokens
    heads, square = "connector/blocks/attention", depth * width * width
    return [
        *found,
        *_kernels(f"{heads} query out", square, tokens),
        *_kernels(f"{heads} key value", depth * inputs * width, sources),
        *_kernels("connector/blocks/mlp up down", 4 * square, tokens),
        Part(4 * tokens * sources * depth * width, "", BOTH),
    ]


def _qformer(model: Model) -> list[Part]:
    sizes, tokens = model.connector.qformer, model.connector.tokens
    patches, inputs = config_lib.patches(model.vit), config_lib.encoder_width(model)
    width, groups = sizes.width, sizes.layers // sizes.cross_every
    square, mlp = groups * width * width, groups * width * sizes.mlp_width
    found: list[Part] = []
    both = tokens + sizes.text  # counted as if each image's text were of full length
    for place in range(sizes.cross_every):
        layer = f"connector/blocks/layer_{place}"
        found += _kernels(f"{layer}/attention query key value out", square, both)
        found += _kernels(f"{layer}/mlp up down", mlp, tokens)
        if sizes.text:
            found += _kernels(f"{layer}/mlp_words up down", mlp, sizes.text)
        found.append(Part(4 * both * both * groups * width, "", BOTH))
    cross = "connector/blocks/layer_0/cross"
    return [
        *found,
        *_kernels(f"{cross} query out", square, tokens),
        *_kernels(f"{cross} key value", groups * inputs * width, patches, ENCODERS),
        Part(4 * tokens * patches * groups * width, "", BOTH),
        *_kernels("connector project", width * model.decoder.width, tokens),
    ]


def _c_abstractor(model: Model) -> list[Part]:
    sizes, tokens = model.connector.c_abstractor, model.connector.tokens
    patches, inputs = config_lib.patches(model.vit), config_lib.encoder_width(model)
    width = sizes.width
    outside = ["expand"] + ["shortcut"] * (inputs != width)
    narrow = width * config_lib.squeezed(sizes, inputs)
    found = [
        *_kernels(
            f"connector/entry {' '.join(outside)}", inputs * width, patches, ENTRY
        ),
        *_kernels("connector/entry squeeze excite", narrow, 1),
        *_kernels("connector/entry out", width * width, patches),
        *_pooling(model, width, BOTH),
    ]
    narrow = width * config_lib.squeezed(sizes, width)
    for stage, depth, vectors in (
        ("before", sizes.depth - 1, patches),
        ("after", sizes.depth, tokens),
    ):
        found += _kernels(
            f"connector/{stage} expand out", depth * width * width, vectors
        )
        found += _kernels(f"connector/{stage} squeeze excite", depth * narrow, 1)
    return [*found, *_projection(model, width, tokens, BOTH)]


KINDS: dict[str, Callable[[Model], list[Part]]] = {
    "average_pool": _average_pool,
    "c_abstractor": _c_abstractor,
    "linear": _linear,
    "mlp": _merged,
    "perceiver": _perceiver,
    "pixel_shuffle": _merged,
    "qformer": _qformer,
    "token_concat": _merged,
}
