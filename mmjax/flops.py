"""FLOPs of a step, by component, and the peaks that they are compared with.

Counted are matrix products, a multiply-add as two: of real images (empty slots do no
useful work), of positions that hold a token (nor does padding), of the experts that a
token goes to, of attention inside documents only; the backward pass where a gradient
must pass; recomputation never.
"""

import math
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from mmjax import config as config_lib
from mmjax import connector_flops
from mmjax.config import Model, ViT

COMPONENTS: tuple[str, ...] = (
    "encoder",
    "connector",
    "decoder",
    "attention",
    "unembedding",
    "heads",
)

# Prefixes of parameters that the input of a decoder's layer depends on.
UP = (
    *connector_flops.BOTH, "decoder/embedding", "decoder/blocks/", "decoder/rest/",
)  # fmt: skip

# Dense bfloat16 FLOP/s of one jax device, by words of its `device_kind`; the first that
# matches counts. Makers' data sheets; v4 as one device a chip.
PEAKS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,  # v5p says so
    "TPU v6": 918e12,
    "TPU7": 1153e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
}


class Work(NamedTuple):
    """What a step computes on; all but the first are exact where lengths are known."""

    images: float  # real ones; each crop of a tiled image counts
    positions: float  # that hold a document's token
    pairs: float  # (query, key) of causal attention, summed over chunks
    local_pairs: float = math.nan  # those of them that layers with a window see
    sights: float = 0  # (position, crop) that it sees, in layers that attend to images


def work(images: float, lengths: Iterable[int], window: int = 0) -> Work:
    """The work of documents (or parts of split ones) of these lengths in positions.

    `window` is the decoder's.
    """
    lengths = list(lengths)
    pairs = sum(n * (n + 1) // 2 for n in lengths)
    # Of n places all but the first `window` miss what lies before their window.
    beyond = (max(n - window, 0) for n in lengths) if window else ()
    unseen = sum(n * (n + 1) // 2 for n in beyond)
    return Work(images, sum(lengths), pairs, pairs - unseen)


def planned(groups: Iterable[Iterable[Any]], window: int = 0) -> Work:
    """The exact work of a batch as planned: groups of rows of chunks.

    A row has `row.slots` images and `row.chunks` with `start` and `stop`.
    """
    rows = [planned.row for group in groups for planned in group]
    lengths = [chunk.stop - chunk.start for row in rows for chunk in row.chunks]
    return work(sum(row.slots for row in rows), lengths, window)


class Product(NamedTuple):
    """One matrix product, of all layers and the whole step."""

    component: str  # one of COMPONENTS
    forward: float  # FLOPs
    kernel: str  # path of the parameter in it; "" between two activations
    upstream: tuple[str, ...]  # prefixes of parameters that its other input depends on


def peak(device_kind: str) -> float | None:
    """Peak FLOP/s of a jax device; None where we know of none, as for CPUs."""
    words = device_kind.lower()
    return next((p for name, p in PEAKS.items() if name.lower() in words), None)


def step(model: Model, work: Work, trainable: Collection[str]) -> dict[str, float]:
    """FLOPs of one step by component, given the paths of parameters that train."""
    return {name: cost.total for name, cost in costs(model, work, trainable).items()}


_NONE = ("", connector_flops.CONSTANT)  # kernels that are no parameters


class Cost(NamedTuple):
    """FLOPs of one component in a step."""

    forward: float
    backward: float
    frozen: float  # of `forward`, those of products with parameters that don't train
    trained: float  # and with parameters that do; the rest is between activations

    @property
    def total(self) -> float:
        return self.forward + self.backward

    @property
    def trains(self) -> str:
        """What its parameters do: train, are frozen, partly both, or "" without any."""
        if self.frozen and self.trained:
            return "partly frozen"
        if self.frozen:
            return "frozen"
        return "trained" if self.trained else ""


def costs(model: Model, work: Work, trainable: Collection[str]) -> dict[str, Cost]:
    """What each component costs in a step, given the paths of parameters that train.

    In a stack of layers the input of the first counts as an input of the others.
    """
    total = dict.fromkeys(COMPONENTS, Cost(0.0, 0.0, 0.0, 0.0))
    for product in products(model, work):
        passes, trains = 0, product.kernel in trainable
        if any(path.startswith(product.upstream) for path in trainable):
            passes += 1 if product.kernel else 2
        passes += trains
        made = Cost(
            product.forward,
            passes * product.forward,
            product.forward * (not trains and product.kernel not in _NONE),
            product.forward * trains,
        )
        before = total[product.component]
        total[product.component] = Cost(*(x + y for x, y in zip(before, made)))
    return total


def products(model: Model, work: Work) -> list[Product]:
    """Every matrix product of the model's forward pass."""
    if model.objective.kind == "contrastive":
        return _towers(model, work)
    if model.objective.kind == "aim":
        return _aim(model, work)
    encoders = [
        product
        for name, vit in config_lib.encoders(model).items()
        for product in _vit(name, vit, work)
    ]
    return [*encoders, *_connector(model, work), *_decoder(model, work)]


def _kernels(
    component: str,
    kernels: str,
    size: float,
    positions: float,
    upstream: tuple[str, ...],
) -> list[Product]:
    """Products of `positions` vectors with kernels of `size` elements.

    `kernels` is a folder of the parameters and names in it: "vit/blocks/mlp up down".
    """
    folder, *names = kernels.split()
    return [
        Product(component, 2 * positions * size, f"{folder}/{name}/kernel", upstream)
        for name in names
    ]


def _vit(folder: str, vit: ViT, work: Work) -> list[Product]:
    """Products of an encoder whose parameters lie in `folder`; resizing isn't counted.

    Tokens that are no features go through all layers, as the others do.
    """
    name, layers = "encoder", config_lib.encoder_layers(vit)
    patches = work.images * config_lib.patches(vit)
    tokens = work.images * config_lib.encoder_tokens(vit)
    pairs = tokens * config_lib.encoder_tokens(vit)
    entries = ("patch_embed/", "norm_embedding/", "positions", "class_", "registers")
    up = tuple(f"{folder}/{entry}" for entry in (*entries, "blocks/"))
    pixels = 3 * vit.patch_size**2 * vit.width
    heads, mlp = layers * vit.width**2, layers * vit.width * vit.mlp_width
    attention = f"{folder}/blocks/attention query key value out"
    kernels = f"{folder}/blocks/mlp {'gate ' if vit.gated else ''}up down"
    return [
        *_kernels(name, f"{folder} patch_embed", pixels, patches, ()),
        *_kernels(name, attention, heads, tokens, up),
        *_kernels(name, kernels, mlp, tokens, up),
        Product(name, 4 * pairs * layers * vit.width, "", up),
    ]


def _connector(model: Model, work: Work) -> list[Product]:
    """Products of the connector; its attention counts to it, not to `attention`."""
    return [
        Product("connector", work.images * part.forward, part.kernel, part.upstream)
        for part in connector_flops.parts(model)
    ]


def _decoder(model: Model, work: Work) -> list[Product]:
    decoder = model.decoder
    table = "decoder/embedding" if decoder.tied_embeddings else "decoder/unembed"
    logits = 2 * work.positions * decoder.vocab_size * decoder.width
    return [
        *(
            product
            for stack in config_lib.layer_stacks(decoder)
            for product in _layers(model, work, stack)
        ),
        Product("unembedding", logits, table, (*UP, "decoder/norm/")),
    ]


def _layers(model: Model, work: Work, stack: config_lib.LayerStack) -> list[Product]:
    """Products of the decoder's layers of one stack."""
    decoder, name, positions = model.decoder, "decoder", work.positions
    layers, size = len(stack.layers), decoder.width * decoder.head_size
    queries, keys = layers * size * decoder.heads, layers * size * decoder.kv_heads
    inner, folder = decoder.heads * decoder.head_size, f"decoder/{stack.folder}"
    local = config_lib.is_local(decoder, stack.place)
    pairs = work.local_pairs if local else work.pairs
    return [
        *(
            _crossed(model, work, stack)
            if config_lib.is_crossed(decoder, stack.place)
            else []
        ),
        *_mlp(model, work, stack),
        *_kernels(name, f"{folder}/attention query out", queries, positions, UP),
        *_kernels(name, f"{folder}/attention key value", keys, positions, UP),
        Product("attention", 4 * pairs * layers * inner, "", UP),
    ]


def _crossed(model: Model, work: Work, stack: config_lib.LayerStack) -> list[Product]:
    """Products of the blocks that look at images before the layers of one stack.

    Of a row, all images are keys, each of them in one row.
    """
    decoder, name = model.decoder, "decoder"
    folder, layers = f"decoder/{stack.folder}/cross", len(stack.layers)
    size, tokens = decoder.width * decoder.head_size, model.connector.tokens
    queries, keys = layers * size * decoder.heads, layers * size * decoder.kv_heads
    mlp, positions = layers * decoder.width * decoder.mlp_width, work.positions
    sources, inner = work.images * tokens, decoder.heads * decoder.head_size
    up = (*connector_flops.BOTH, f"{folder}/norm_images/")
    return [
        *_kernels(name, f"{folder}/attention query out", queries, positions, UP),
        *_kernels(name, f"{folder}/attention key value", keys, sources, up),
        *_kernels(name, f"{folder}/mlp gate up down", mlp, positions, UP),
        Product("attention", 4 * work.sights * tokens * layers * inner, "", UP),
    ]


def _mlp(model: Model, work: Work, stack: config_lib.LayerStack) -> list[Product]:
    """Products of the layers' MLPs; of experts, those that a token goes to count."""
    decoder, folder = model.decoder, f"decoder/{stack.folder}"
    layers, positions = len(stack.layers), work.positions
    mlp = layers * decoder.width * decoder.mlp_width
    if not config_lib.is_sparse(decoder, stack.place):
        return _kernels("decoder", f"{folder}/mlp gate up down", mlp, positions, UP)
    moe, router = decoder.moe, layers * decoder.width * decoder.moe.experts
    chosen = moe.top_k * positions
    return [
        *_kernels("decoder", f"{folder}/moe router", router, positions, UP),
        *_kernels("decoder", f"{folder}/moe gate up down", mlp, chosen, UP),
    ]


def _towers(model: Model, work: Work) -> list[Product]:
    """Products of two towers; every image counts as one of a pair.

    The text tower has no work at image positions, though it is handed them.
    """
    width, images = model.objective.contrast.width, work.images
    image, text = model.vit.width * width, model.decoder.width * width
    positions = max(work.positions - images * model.connector.tokens, 0)
    of_texts = [
        product._replace(upstream=tuple(u for u in UP if u.startswith("decoder/")))
        for stack in config_lib.layer_stacks(model.decoder)
        for product in _layers(model, work._replace(positions=positions), stack)
    ]
    return [
        *_vit("vit", model.vit, work),
        *of_texts,
        *_kernels("heads", "contrast image", image, images, ("vit/",)),
        *_kernels("heads", "contrast text", text, images, ("decoder/",)),
        Product("heads", 2 * images**2 * width, "", ("vit/", "decoder/", "contrast/")),
    ]


def _aim(model: Model, work: Work) -> list[Product]:
    """Products of AIM with prefixes as long as they are on average.

    Attention's are of what patches see, the head's of the patches that count.
    """
    vit, aim, name = model.vit, model.objective.aim, "heads"
    patches, tokens = config_lib.patches(vit), config_lib.encoder_tokens(vit)
    seen = [n + tokens - patches for n in range(1, patches)]
    pairs = [n * n + (tokens * (tokens + 1) - n * (n + 1)) / 2 for n in seen]
    share = sum(pairs) / len(pairs) / tokens**2
    encoder = [
        p if p.kernel else p._replace(forward=share * p.forward)
        for p in _vit("vit", vit, work)
    ]
    counted, up = work.images * patches / 2, ("vit/", "aim/")
    mlp = aim.head_depth * aim.head_width * aim.head_mlp_width
    enter, out = vit.width * aim.head_width, 3 * vit.patch_size**2 * aim.head_width
    return [
        *encoder,
        *_kernels(name, "aim enter", enter, counted, ("vit/",)),
        *_kernels(name, "aim/blocks/mlp up down", mlp, counted, up),
        *_kernels(name, "aim out", out, counted, up),
    ]


def rate(flops: float, seconds: float, devices: int, kind: str) -> tuple[float, float]:
    """Achieved FLOP/s of all devices, and its share of their peak (nan if unknown)."""
    achieved = flops / seconds
    known = peak(kind)
    return achieved, achieved / (devices * known) if known else math.nan
