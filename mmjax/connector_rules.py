"""The rules that a connector obeys: above all, how many tokens each kind can make."""

import math
from collections.abc import Callable

from mmjax import config as config_lib
from mmjax.config import Model
from mmjax.model_rules import MAPPED, divides

# Their tokens are a square, each of the patches that lie there.
SQUARES = ("average_pool", "c_abstractor", "linear", "mlp", "pixel_shuffle")


def problems(model: Model) -> list[str]:
    """One line a broken rule of the connector."""
    rules = KINDS.get(model.connector.kind, ())
    return [*_map_problems(model), *(line for rule in rules for line in rule(model))]


def _map_problems(model: Model) -> list[str]:
    """Options that need tokens with a place in the image."""
    kind = model.connector.kind
    return [
        f"model.preprocessing.{name}=True: needs tokens that are a square of patches "
        f"({', '.join(SQUARES)}), model.connector.kind={kind} has none"
        for name in MAPPED
        if getattr(model.preprocessing, name) and kind not in SQUARES
    ]


def _one_a_patch(model: Model) -> list[str]:
    return _one_of(model, [config_lib.patches(model.vit)])


def _whole_squares(model: Model) -> list[str]:
    """Squares of k x k patches must fill the grid."""
    grid = math.isqrt(config_lib.patches(model.vit))
    return _one_of(model, [side**2 for side in range(1, grid + 1) if grid % side == 0])


def _equal_runs(model: Model) -> list[str]:
    patches = config_lib.patches(model.vit)
    return _one_of(model, [n for n in range(1, patches + 1) if patches % n == 0])


def _one_of(model: Model, allowed: list[int]) -> list[str]:
    """The line of tokens that the kind can't make of this encoder's patches."""
    connector, grid = model.connector, math.isqrt(config_lib.patches(model.vit))
    if connector.tokens in allowed:
        return []
    *first, last = map(str, allowed)
    words = f"{', '.join(first)} or {last}" if first else last
    return [
        f"model.connector.tokens={connector.tokens}: {connector.kind} makes {words} of "
        f"the encoder's {grid} x {grid} patches"
    ]


def _square(model: Model) -> list[str]:
    connector = model.connector
    side = math.isqrt(max(0, connector.tokens))
    if side**2 == connector.tokens:
        return []
    return [
        f"model.connector.tokens={connector.tokens}: {connector.kind} makes the square "
        f"of any number, such as {side**2} or {(side + 1) ** 2}"
    ]


def _hidden_layer(model: Model) -> list[str]:
    connector = model.connector
    if connector.mlp_depth >= 2:
        return []
    return [
        f"model.connector.mlp_depth={connector.mlp_depth}: must be at least 2 for mlp; "
        "model.connector.kind=linear has one layer"
    ]


def _perceiver_heads(model: Model) -> list[str]:
    return divides(
        "model.connector.heads", model.connector.heads,
        "model.decoder.width", model.decoder.width,
    )  # fmt: skip


def _qformer_sizes(model: Model) -> list[str]:
    name, sizes = "model.connector.qformer", model.connector.qformer
    return [
        *divides(f"{name}.heads", sizes.heads, f"{name}.width", sizes.width),
        *divides(
            f"{name}.cross_every", sizes.cross_every, f"{name}.layers", sizes.layers
        ),
    ]


KINDS: dict[str, tuple[Callable[[Model], list[str]], ...]] = {
    "average_pool": (_square,),
    "c_abstractor": (_square,),
    "linear": (_one_a_patch,),
    "mlp": (_one_a_patch, _hidden_layer),
    "perceiver": (_perceiver_heads,),
    "pixel_shuffle": (_whole_squares,),
    "qformer": (_qformer_sizes,),
    "token_concat": (_equal_runs,),
}
