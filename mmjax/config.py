"""Every knob of mmjax, as a tree of plain dataclasses.

A config file is a Python file with a function `get_config()` that returns a `Config`;
`--config.optim.peak_lr=2e-4` overrides one field, with its type checked. The rules
that a config obeys are in `mmjax.validation`.
"""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmjax import image_map, tiling

# The alternatives that a field may name. The code that implements them is a dict of
# functions with the same keys, checked against these by a test.
ACTIVATIONS = ("gelu", "gelu_tanh", "quick_gelu", "silu")
ATTENTIONS = ("auto", "blocked", "cudnn", "reference", "splash", "triton")
GATES = ("gelu_tanh", "silu")
ROPE_SCALINGS = ("linear", "llama3", "none", "yarn")
CONNECTORS = (
    "average_pool", "c_abstractor", "linear", "mlp", "perceiver", "pixel_shuffle",
    "qformer", "token_concat",
)  # fmt: skip
CONTRASTS = ("sigmoid", "softmax")
DTYPES = ("bfloat16", "float32")
REDUCE_DTYPES = ("model", "float32")
MOE_BACKENDS = ("blocked", "ragged_dot")
REMATS = ("none", "dots", "projections", "offload", "attention", "full")
VIT_ATTENTIONS = ("auto", "cudnn", "reference", "splash", "triton")
VIT_NORMS = ("layer", "rms")
EMBEDDING_NORMS = ("none", "patches", "tokens")
OBJECTIVES = ("aim", "contrastive", "next_token")
POOLS = ("class_token", "mean")
POSITIONS = ("learned", "fixed")
QUANTIZATIONS = ("none", "int8", "fp8")
RESIZES = ("linear", "cubic", "torch_bicubic")
SEEN_IMAGES = ("last", "all_before")
UNITS = ("row", "loss_token", "document")
EPOCH_POLICIES = ("warn", "stop")
BAD_RECORDS = ("stop", "mask")
IMAGE_RESIZES = ("warp", "crop", "letterbox")
INTERPOLATIONS = ("area", "bicubic", "bilinear", "lanczos")
TILINGS = ("none", "mm1", "anyres")


@dataclasses.dataclass
class ViT:
    """The image encoder: a pre-norm vision transformer. Defaults are ViT-H/14's size.

    Published encoders are in configs/encoders.py.
    """

    image_size: int = 378  # side in pixels of the square that the encoder sees
    patch_size: int = 14
    width: int = 1280
    layers: int = 32
    heads: int = 16
    mlp_width: int = 5120
    activation: str = "quick_gelu"  # one of ACTIVATIONS
    gated: bool = False  # the MLP is activation(gate) * up, then down
    norm: str = "layer"  # one of VIT_NORMS
    norm_eps: float = 1e-5
    # What else is normed, before the first layer: the embeddings of patches, before
    # positions are added, or all tokens, after; one of EMBEDDING_NORMS.
    embedding_norm: str = "none"
    patch_bias: bool = True
    attention_bias: bool = True
    mlp_bias: bool = True
    layer_scale: float = 0.0  # what scales of a layer's two outputs start at; 0: none
    class_token: bool = False
    registers: int = 0  # further tokens that, like the class token, are no features
    positions: str = "learned"  # of patches: one of POSITIONS
    position_grid: int = 0  # side of the learned table; 0: that of the image's patches
    position_resize: str = "linear"  # from that grid to the image's: one of RESIZES
    # The layer whose outputs are the features: -1 the last, normed; -2 the one before,
    # not normed, and so on. Layers after it, and their norm, aren't part of the model.
    features: int = -1
    # Of the channels of the training images, in 0 to 1; the defaults are CLIP's.
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    attention: str = "auto"  # its backend: one of VIT_ATTENTIONS
    remat: str = "full"  # what the backward pass keeps of a layer: one of REMATS
    quantization: str = "none"  # of its layers' products with weights, as the decoder's


@dataclasses.dataclass
class SecondViT(ViT):
    """An encoder beside the first: its features are joined to the first's, by channel.

    It sees the same pixels, resized where its `image_size` is another.
    """

    enabled: bool = False


@dataclasses.dataclass
class CAbstractor:
    """Sizes of Honeybee's convolutional connector; defaults are its code's."""

    width: int = 1024  # channels of the convolutions
    depth: int = 3  # blocks before the pooling, and as many after it
    se_ratio: float = 0.25  # squeezed channels of a block, as a share of its inputs'


@dataclasses.dataclass
class QFormer:
    """Sizes of BLIP-2's querying transformer; defaults are its BERT base."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    cross_every: int = 2  # of so many layers the first attends to the patches too
    norm_eps: float = 1e-12
    # Tokens of the text beside an image that the queries hear of, at most; 0: of none.
    text: int = 0


@dataclasses.dataclass
class Connector:
    """What turns patch features into image tokens of the decoder's width."""

    kind: str = (
        "perceiver"  # one of CONNECTORS; perceiver of depth 1: attention pooling
    )
    tokens: int = 144  # image tokens of one image (Q)
    depth: int = 1  # blocks of the perceiver
    heads: int = 16  # heads of the perceiver
    queries_as_keys: bool = False  # the perceiver's queries attend to themselves too
    # Linear layers at the end of mlp, pixel_shuffle, token_concat and c_abstractor.
    mlp_depth: int = 2
    # Width of one more layer before those, in widths of its input; 0: there is none.
    mlp_expand: int = 0
    # LayerNorm of what enters, except in perceiver (which has its own) and qformer.
    prenorm: bool = False
    remat: str = "full"  # of c_abstractor, perceiver and qformer: one of REMATS
    c_abstractor: CAbstractor = dataclasses.field(default_factory=CAbstractor)
    qformer: QFormer = dataclasses.field(default_factory=QFormer)


@dataclasses.dataclass
class Moe:
    """Layers of the decoder with a mixture of experts in place of their MLP."""

    experts: int = 0  # of a sparse layer, each an MLP of mlp_width; 0: none is sparse
    every: int = 2  # the last of so many layers is sparse
    top_k: int = 2  # experts that a token goes to
    # Slots of an expert for each row, as a multiple of an even share; tokens beyond
    # them are dropped. 0: none is (dropless).
    capacity_factor: float = 0.0
    backend: str = "ragged_dot"  # of dropless experts: one of MOE_BACKENDS
    balance_loss: float = 0.01  # weight of the balance loss, summed over sparse layers
    z_loss: float = 0.001  # weight of the router's squared log-partition, likewise


@dataclasses.dataclass
class CrossAttention:
    """Gated blocks in the decoder that attend to images, which then aren't in the rows.

    Flamingo's (arXiv 2204.14198). Heads, MLP and norms have the decoder's own sizes.
    """

    every: int = 0  # the last of so many layers has one before it; 0: there are none
    # What a token sees of its document's images before it: one of SEEN_IMAGES.
    images: str = "last"
    # Pool slots that a row may use: the keys of a row are laid out for so many images.
    # 0: as many as its pool has, which costs most where rows share a large pool.
    row_images: int = 0


@dataclasses.dataclass
class RopeScaling:
    """How rotary positions are slowed down for rows longer than those trained on.

    Pairs that turn fewer than `slow` times in `original_length` tokens become `factor`
    times slower, those that turn more than `fast` times stay (linear: all are slowed).
    """

    kind: str = "none"  # one of ROPE_SCALINGS
    factor: float = 1.0
    original_length: int = 8192  # tokens of the rows that were trained on
    slow: float = 1.0
    fast: float = 4.0


@dataclasses.dataclass
class Decoder:
    """The language model: RMSNorm, rotary positions, grouped queries, a gated MLP.

    The defaults are MM1's; with other options it is a Llama, Mistral, Qwen or Gemma
    (`configs/decoders.py` has them by name).
    """

    vocab_size: int = 65536  # rows of the embedding; at least the tokenizer's ids
    width: int = 2560
    layers: int = 32
    heads: int = 20
    kv_heads: int = 20
    head_size: int = 128
    mlp_width: int = 6912
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied_embeddings: bool = False
    qkv_bias: bool = False  # biases of queries, keys and values (Qwen2)
    qk_norm: bool = False  # RMSNorm of each head's queries and keys (Qwen3, Gemma 3)
    post_norms: bool = False  # also of what attention and MLP add (Gemma 2 and 3)
    norm_unit_offset: bool = False  # norms multiply by 1 + scale (Gemma)
    scale_embeddings: bool = False  # those of text, by sqrt(width) (Gemma)
    activation: str = "silu"  # of the MLP's gate: one of GATES
    query_scale: float = 0.0  # of queries' products with keys; 0: head_size ** -0.5
    attention_softcap: float = 0.0  # cap * tanh(score / cap); 0: none (Gemma 2: 50)
    logit_softcap: float = 0.0  # likewise of the final logits (Gemma 2: 30)
    window: int = 0  # places that a local layer's query sees, its own included; 0: all
    global_every: int = (
        0  # every n-th layer sees all in spite of `window`; 0: none does
    )
    local_rope_theta: float = 0.0  # of local layers, unscaled; 0: as others (Gemma 3)
    rope_scaling: RopeScaling = dataclasses.field(default_factory=RopeScaling)
    remat: str = "full"  # one of REMATS
    # Of the layers' products with weights while training: one of QUANTIZATIONS. int8 is
    # for TPU v5e, v5p and v6e, fp8 for H100, H200 and tpu7x (docs/low_precision.md).
    quantization: str = "none"
    moe: Moe = dataclasses.field(default_factory=Moe)
    cross_attention: CrossAttention = dataclasses.field(default_factory=CrossAttention)


@dataclasses.dataclass
class Preprocessing:
    """How an encoded image becomes the square crops that the encoder sees."""

    # How a whole image becomes a square, one of IMAGE_RESIZES: warped to it; its middle
    # alone (CLIP); padded to a square with the encoder's mean colour (LLaVA's "pad").
    resize: str = "warp"
    interpolation: str = "area"  # one of INTERPOLATIONS; the others are Pillow's
    tiling: str = "none"  # what is seen besides the whole image: one of TILINGS
    # (rows, columns) of tiles that `anyres` chooses from, `mm1` has one; empty: those
    # of MM1 (2 x 2) and of LLaVA-NeXT.
    grids: tuple[tuple[int, int], ...] = ()
    # Of anyres, as LLaVA-NeXT has both: tokens of tiles that show margins alone have no
    # positions; a learned vector ends each row of tokens of the tiles' picture.
    unpad: bool = False
    newline: bool = False


@dataclasses.dataclass
class Contrast:
    """Images and texts as vectors, alike for pairs and unlike for others."""

    loss: str = "sigmoid"  # one of CONTRASTS: SigLIP's, or CLIP's
    pool: str = "mean"  # of the image tower's tokens, what the image is: one of POOLS
    width: int = 1024  # of the vectors
    scale: float = 10.0  # what cosines are multiplied by at first; learned
    max_scale: float = 100.0  # and at most, later on
    bias: float = -10.0  # what is then added at first; learned (sigmoid only)
    block: int = 1024  # texts that a device compares its images with at a time


@dataclasses.dataclass
class Aim:
    """The head that predicts the next patch's pixels: MLPs, one after the other."""

    head_depth: int = 12
    head_width: int = 2048
    head_mlp_width: int = 8192


@dataclasses.dataclass
class Objective:
    """What is learned: text with images, or an image encoder for other runs.

    `contrastive` trains `vit` and the decoder's layers as a tower for texts (CLIP,
    SigLIP), `aim` trains `vit` on pixels alone; neither has a connector.
    """

    kind: str = "next_token"  # one of OBJECTIVES
    contrast: Contrast = dataclasses.field(default_factory=Contrast)
    aim: Aim = dataclasses.field(default_factory=Aim)


@dataclasses.dataclass
class Splash:
    """Blocks of the splash kernel in tokens: multiples of 128, cut to fit the row.

    Larger ones fill the matrix units better and compute more that is masked.
    """

    queries: int = 1024
    keys: int = 1024
    keys_at_once: int = 512  # that a block of queries is multiplied with


@dataclasses.dataclass
class Model:
    """Encoder, connector and decoder, and how they are computed."""

    vit: ViT = dataclasses.field(default_factory=ViT)
    second_vit: SecondViT = dataclasses.field(default_factory=SecondViT)
    connector: Connector = dataclasses.field(default_factory=Connector)
    decoder: Decoder = dataclasses.field(default_factory=Decoder)
    preprocessing: Preprocessing = dataclasses.field(default_factory=Preprocessing)
    dtype: str = "bfloat16"  # of activations; parameters and reductions are float32
    # Backend of the decoder's attention, one of ATTENTIONS; auto: splash on TPUs,
    # triton on GPUs where it knows what is asked for, blocked elsewhere.
    attention: str = "auto"
    attention_block: int = 512  # tokens of a query block of the blocked backend
    splash: Splash = dataclasses.field(default_factory=Splash)
    loss_chunk: int = 512  # tokens of a row whose logits exist at the same time
    z_loss: float = 0.0  # weight of the squared log-partition
    objective: Objective = dataclasses.field(default_factory=Objective)


@dataclasses.dataclass
class Source:
    """One prepared corpus."""

    name: str = ""
    path: str = ""  # folder of shards, relative to data.root; empty: NAME/train
    heldout: str = ""  # likewise; empty: NAME/heldout
    # Share of the captions that have a synthetic wording which are read in it instead.
    synthetic: float = 0.0
    max_epochs: float = 0.0  # how often the run may see a document; 0: no limit
    beyond: str = "stop"  # what a run does that goes further: one of EPOCH_POLICIES


@dataclasses.dataclass
class SampleWorld:
    """The corpus that the project makes itself, in data.root, where it isn't yet."""

    enabled: bool = False
    seed: int = 0
    captions: int = 8000  # documents of each kind
    interleaved: int = 4000
    texts: int = 3000
    names: int = 0  # documents whose pictures have names made up for them; 0: no source
    heldout: int = 200  # held-out documents of each kind
    questions: int = 200  # held-out questions of each type
    image_size: int = 64  # side of the images in pixels
    vocab_size: int = 512  # of the tokenizer trained on it


@dataclasses.dataclass
class Data:
    """Where the corpora lie and how their documents become batches."""

    root: str = ""
    sources: tuple[Source, ...] = dataclasses.field(
        default_factory=lambda: (
            Source("captions"),
            Source("interleaved"),
            Source("text"),
        )
    )
    tokenizer: str = ""  # a .model or tokenizer.json; empty: the one in data.root
    sample_world: SampleWorld = dataclasses.field(default_factory=SampleWorld)
    seed: int = 0  # of the shuffle
    row_tokens: int = 4096  # T
    rows_per_batch: int = 512  # B
    rows_per_pool: int = 16  # R, the rows that share one pool of images
    pool_capacity: int = 0  # C, image slots of a group; 0: auto, the fewest that fit
    pool_multiple: int = 16  # auto capacities are multiples of this
    # In slots: a tiled image counts as its crops. 0: no limit of its own (a row fits
    # its pool anyway).
    max_images_per_row: int = 0
    pack_window: int = 2048  # documents that are packed together
    block_batches: int = 32  # batches whose rows are dealt to pools together
    threads: int = 8  # that read, decode and tokenize
    workers: int = 0  # processes that do so instead; 0: threads of this process
    prefetch: int = 4  # pool groups read ahead
    cache: str = ""  # folder of plans; empty: .plans in data.root, or in the workdir
    # What a run does with a record that can't be read as its index says, one of
    # BAD_RECORDS; masked: its positions stay, without loss. (An image that can't be
    # decoded is always grey, and its document masked.)
    on_bad_record: str = "stop"
    # What it bears of each source before it stops: the share of the last 10,000
    # documents, and how many in a row.
    max_bad_share: float = 0.001
    max_bad_in_a_row: int = 100
    open_timeout: float = 60.0  # seconds that a manifest, an index or a shard may take


@dataclasses.dataclass
class WeightChange:
    """From `step` on, the mixture has these weights."""

    step: int = 0
    weights: tuple[int, ...] = ()


@dataclasses.dataclass
class Mixture:
    """How often rows are drawn from each source."""

    weights: tuple[int, ...] = (45, 45, 10)  # shares of `unit`, one a source
    schedule: tuple[WeightChange, ...] = ()
    unit: str = "row"  # what weights are shares of: one of UNITS


@dataclasses.dataclass
class LrRule:
    """Parameters whose path matches learn at a multiple of the rate."""

    pattern: str = ""  # regular expression searched in paths such as vit/norm/scale
    multiplier: float = 1.0


@dataclasses.dataclass
class Optim:
    """AdamW, warmup and cosine."""

    peak_lr: float = 1e-4
    final_lr_ratio: float = 0.1  # the rate at the last step, as a share of peak_lr
    warmup_steps: int = 2000
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # multiplied by the learning rate of the step
    clip_norm: float = 1.0  # global norm of the gradients
    accumulate: int = 1  # microbatches of a step, each a whole number of pool groups
    zero1: bool = False  # moments and updates are sliced over data and expert, too
    moments_dtype: str = "float32"  # of both, one of DTYPES; arithmetic is float32
    # In what TPUs sum gradients of linear layers over devices: "model" is model.dtype.
    reduce_dtype: str = "model"  # one of REDUCE_DTYPES
    frozen: tuple[str, ...] = ()  # patterns of paths that are not trained
    lr_rules: tuple[LrRule, ...] = ()  # the first rule that matches counts


@dataclasses.dataclass
class Mesh:
    """Devices along each mesh axis; one axis may be -1, all that remain."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1
    expert: int = 1  # slices of the experts; pool groups lie over data and expert
    context: int = 1  # parts of a row's tokens; for weights and images more of fsdp


@dataclasses.dataclass
class Checkpoint:
    """When checkpoints are written and which are kept."""

    every: int = 1000  # steps
    keep_last: int = 3
    keep_every: int = 0  # keep for ever those at multiples of this many steps; 0: none
    asynchronous: bool = True


@dataclasses.dataclass
class Log:
    """Where metrics go."""

    every: int = 10  # steps between two log lines
    tensorboard: bool = True
    wandb_project: str = ""  # empty: no Weights & Biases


@dataclasses.dataclass
class Evaluation:
    """What is measured on held-out data."""

    every: int = 1000  # steps between two held-out losses; 0: only at the end
    rows: int = 512  # held-out rows of each source, at most
    questions: str = ""  # folder of question documents, relative to data.root
    samples: int = 8  # images that get the model's own captions in the report
    # Training images that linear probes of the encoder are fitted on, at the end; of
    # the first source whose documents have labels. 0: no probe.
    probe: int = 0
    # What is asked few-shot: `questions`, or tasks
    # of `mmjax.evals.tasks`, whose files lie in a folder of their name in `tasks_root`.
    tasks: tuple[str, ...] = ()
    tasks_root: str = ""
    shots: tuple[int, ...] = (0, 4, 8)  # solved examples before each query
    examples: int = 100  # of each task, or kind of question; 0: all
    tasks_every: int = 0  # steps between two times they are asked; 0: only at the end


@dataclasses.dataclass
class Config:
    """A whole run."""

    steps: int = 200_000
    seed: int = 0  # of the parameters, and of what an objective draws by chance
    init_from: str = ""  # checkpoint folder whose weights the run starts from
    init_parts: tuple[str, ...] = ()  # such as vit: no others are taken; empty: all
    max_hours: float = 0.0  # end cleanly after this long; 0: no limit
    model: Model = dataclasses.field(default_factory=Model)
    data: Data = dataclasses.field(default_factory=Data)
    mixture: Mixture = dataclasses.field(default_factory=Mixture)
    optim: Optim = dataclasses.field(default_factory=Optim)
    mesh: Mesh = dataclasses.field(default_factory=Mesh)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    log: Log = dataclasses.field(default_factory=Log)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)


class ImageCost(NamedTuple):
    """What images take up: pool slots, and positions of a row."""

    slots: np.ndarray
    positions: np.ndarray


def image_cost(model: Model, width: np.ndarray, height: np.ndarray) -> ImageCost:
    """Slots and positions of images of the given sizes (arrays of pixels, same shape).

    Every crop of an image is one slot and `crop_positions`, but for a map of tokens
    (`preprocessing.unpad` and `.newline`), whose positions follow its size.
    """
    grids = grids_of(model.preprocessing) or ((0, 0),)
    chosen = tiling.choose(grids, model.vit.image_size, width, height)
    rows, columns = np.array(grids, np.int32).T[:, chosen]
    slots, layout = 1 + rows * columns, map_of(model)
    if layout is None:
        return ImageCost(slots, slots * np.int32(crop_positions(model)))
    return ImageCost(slots, image_map.positions(layout, rows, columns, width, height))


def map_of(model: Model) -> image_map.Map | None:
    """How the tokens of tiles become one picture; None: each crop's stand alone."""
    how = model.preprocessing
    if not how.unpad and not how.newline:
        return None
    return image_map.Map(math.isqrt(model.connector.tokens), how.unpad, how.newline)


def crop_positions(model: Model) -> int:
    """Positions of a row that one crop of an image takes.

    They hold its tokens; with cross-attention, one position marks where it stands.
    """
    return 1 if model.decoder.cross_attention.every else model.connector.tokens


def text_tokens(model: Model) -> int:
    """Tokens of the text beside an image that the connector reads, at most (W)."""
    connector = model.connector
    return connector.qformer.text if connector.kind == "qformer" else 0


def row_slots(config: Config) -> int:
    """Pool slots that one row of a run may use, at most."""
    data, model = config.data, config.model
    fit = max(1, data.row_tokens // max(1, crop_positions(model)))
    if model.preprocessing.unpad:
        fit *= most_crops(model)  # tiles that show margins alone take no positions
    limits = [data.max_images_per_row or fit]
    cross = model.decoder.cross_attention
    limits += [data.pool_capacity] if data.pool_capacity else []
    limits += [cross.row_images] if cross.every and cross.row_images else []
    return min(limits)


def grids_of(preprocessing: Preprocessing) -> tuple[tiling.Grid, ...]:
    """The grids of tiles that an image may be cut into; empty without tiling."""
    if preprocessing.tiling == "none":
        return ()
    return preprocessing.grids or tiling.GRIDS[preprocessing.tiling]


def unquantized(model: Model) -> Model:
    """The model, of the same parameters, with all products in `model.dtype`."""
    plain = {
        name: dataclasses.replace(getattr(model, name), quantization="none")
        for name in ("vit", "second_vit", "decoder")
    }
    return dataclasses.replace(model, **plain)


def pad_colour(model: Model) -> tuple[int, int, int]:
    """The encoder's mean colour, in 0 to 255, as LLaVA rounds it."""
    red, green, blue = (int(255 * mean) for mean in model.vit.mean)
    return red, green, blue


def most_crops(model: Model) -> int:
    """Crops of an image, and so pool slots, at most."""
    sizes = [rows * columns for rows, columns in grids_of(model.preprocessing)]
    return 1 + max(sizes, default=0)


def most_positions(model: Model) -> int:
    """Positions of an image in its row, at most: of one without margins."""
    tokens, layout = most_crops(model) * crop_positions(model), map_of(model)
    if layout is None or not layout.newline:
        return tokens
    grids = grids_of(model.preprocessing)
    return max(
        (1 + rows * columns) * model.connector.tokens + rows * layout.side
        for rows, columns in grids
    )


def image_cost_facts(model: Model) -> tuple[Any, ...]:
    """All of a model that `image_cost` follows from: equal facts, equal costs."""
    grids, layout = grids_of(model.preprocessing), map_of(model)
    of_tiles = (model.vit.image_size, grids) if grids else ()
    return (crop_positions(model), *of_tiles, *(() if layout is None else layout))


def patches(vit: ViT) -> int:
    """Patches of one image (P)."""
    return (vit.image_size // vit.patch_size) ** 2


def encoders(model: Model) -> dict[str, ViT]:
    """The encoders that the model has, by the names of their parameters."""
    second = {"second_vit": model.second_vit} if model.second_vit.enabled else {}
    return {"vit": model.vit, **second}


def encoder_width(model: Model) -> int:
    """Width of the features that the connector reads (E)."""
    return sum(vit.width for vit in encoders(model).values())


def encoder_layers(vit: ViT) -> int:
    """Layers of an encoder up to the one whose outputs are the features."""
    return vit.layers + 1 + vit.features


def encoder_tokens(vit: ViT) -> int:
    """Tokens of one image in an encoder: patches, class token and registers."""
    return patches(vit) + vit.class_token + vit.registers


def is_local(decoder: Decoder, layer: int) -> bool:
    """Whether this layer (counted from 0) sees `decoder.window` places only.

    With `global_every` = 6 as in Gemma 3, layers 0 to 4 do and layer 5 doesn't.
    """
    every = decoder.global_every
    return decoder.window > 0 and not (every and (layer + 1) % every == 0)


def layer_period(decoder: Decoder) -> int:
    """After so many layers the kinds of layers repeat; 1 where all are alike."""
    sparse = decoder.moe.every if decoder.moe.experts else 1
    crossed = decoder.cross_attention.every or 1
    return math.lcm(decoder.global_every or 1, sparse, crossed)


def is_sparse(decoder: Decoder, place: int) -> bool:
    """Whether layers at this place of their group have experts."""
    moe = decoder.moe
    return moe.experts > 0 and place % moe.every == moe.every - 1


def is_crossed(decoder: Decoder, place: int) -> bool:
    """Whether layers at this place of their group attend to images first."""
    every = decoder.cross_attention.every
    return every > 0 and place % every == every - 1


class LayerStack(NamedTuple):
    """Layers of one kind whose parameters are stacked in one folder."""

    folder: str  # of their parameters, in `decoder/`
    place: int  # in the group, 0 to `layer_period` - 1
    layers: range  # their numbers in the decoder, in the order of the stack


def layer_stacks(decoder: Decoder) -> list[LayerStack]:
    """Where the parameters of each layer of the decoder are.

    Layers that are all alike are one stack. Layers that alternate stand in groups of
    `layer_period`, one stack a place in the group; what is left of the last group that
    isn't whole follows in `rest`.
    """
    period, layers = layer_period(decoder), decoder.layers
    if period == 1:
        return [LayerStack("blocks", 0, range(layers))]
    whole = layers - layers % period
    groups = [
        LayerStack(f"blocks/layer{place}", place, range(place, whole, period))
        for place in range(period if whole else 0)
    ]
    rest = [
        LayerStack(f"rest/layer{place}", place, range(whole + place, whole + place + 1))
        for place in range(layers - whole)
    ]
    return groups + rest


def squeezed(connector: CAbstractor, inputs: int) -> int:
    """Channels that a block of the C-Abstractor with so many inputs squeezes to."""
    return max(1, round(connector.se_ratio * inputs))


def projection(model: Model, inputs: int) -> tuple[tuple[str, int, int], ...]:
    """Name, inputs and outputs of the linear layers that a connector ends in.

    They are up, middle_1, middle_2, ..., down; a single one is down.
    """
    connector, width = model.connector, model.decoder.width
    expanded = [connector.mlp_expand * inputs] if connector.mlp_expand else []
    widths = [inputs, *expanded, *[width] * connector.mlp_depth]
    count = len(widths) - 1
    names = ["up", *(f"middle_{i}" for i in range(1, count - 1)), "down"][-count:]
    return tuple(zip(names, widths[:-1], widths[1:]))


def sparse_layers(decoder: Decoder) -> int:
    """How many layers of the decoder have experts."""
    stacks = layer_stacks(decoder)
    return sum(len(s.layers) for s in stacks if is_sparse(decoder, s.place))


def crossed_layers(decoder: Decoder) -> int:
    """How many layers of the decoder attend to images first."""
    stacks = layer_stacks(decoder)
    return sum(len(s.layers) for s in stacks if is_crossed(decoder, s.place))


def decoder_parameters(decoder: Decoder) -> tuple[int, int]:
    """Parameters of the decoder (without embeddings, of the embeddings)."""
    heads = 2 * decoder.heads + 2 * decoder.kv_heads
    attention = decoder.width * decoder.head_size * heads
    if decoder.qk_norm:
        attention += 2 * decoder.head_size
    mlp = 3 * decoder.width * decoder.mlp_width
    crossed = attention + mlp + 3 * decoder.width + 2  # three norms, two gates
    if decoder.qkv_bias:
        attention += decoder.head_size * (decoder.heads + 2 * decoder.kv_heads)
    norms = (4 if decoder.post_norms else 2) * decoder.width
    body = decoder.layers * (attention + mlp + norms) + decoder.width
    more = (decoder.moe.experts - 1) * mlp + decoder.moe.experts * decoder.width
    body += sparse_layers(decoder) * more + crossed_layers(decoder) * crossed
    tables = 1 if decoder.tied_embeddings else 2
    return body, tables * decoder.vocab_size * decoder.width


def mm1_learning_rate(parameters: int) -> float:
    """Peak rate by MM1's law, of the decoder's parameters without embeddings.

    Fitted between 9 M and 1.2 B parameters for parts that are already pretrained
    (arXiv 2403.09611, appendix B).
    """
    return math.exp(-0.4214 * math.log(parameters) - 0.5535)


def value(config: Config, path: str) -> Any:
    """The field at a path, as the command line writes it: "mesh.fsdp"."""
    return functools.reduce(getattr, path.split("."), config)


def assign(config: Config, path: str, new: Any) -> None:
    """Sets the field at a path; AttributeError where there is none."""
    value(config, path)
    *parents, field = path.split(".")
    setattr(functools.reduce(getattr, parents, config), field, new)


def to_dict(config: Config) -> dict:
    """The config as plain dicts, lists, numbers and strings, fit for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: dict) -> Config:
    """The config that `to_dict` wrote (also after a trip through JSON)."""
    return _build(Config, values)


def read_model(folder: str) -> Model:
    """The model that a folder of `mmjax.convert import` holds, for config files.

    Parts that it doesn't hold have the defaults of `Model`.
    """
    path = pathlib.Path(folder) / "model.json"
    if not path.is_file():
        raise ValueError(f"{folder}: holds no imported model, model.json is missing")
    return _build(Model, json.loads(path.read_text()))


def _build(kind: type, values: dict):
    """A dataclass from a dict; nested dataclasses and tuples of them are rebuilt."""
    default = kind()
    fields = {f.name for f in dataclasses.fields(kind)}
    unknown = set(values) - fields
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {sorted(unknown)[0]!r}")
    elements = {"sources": Source, "schedule": WeightChange, "lr_rules": LrRule}
    built = {}
    for name, value in values.items():
        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            built[name] = _build(type(current), value)
        elif name in elements:
            built[name] = tuple(_build(elements[name], item) for item in value)
        elif isinstance(current, tuple):
            built[name] = _tuple(value)
        else:
            built[name] = value
    return kind(**built)


def _tuple(values: Sequence[Any]) -> tuple[Any, ...]:
    """A tuple, also of the lists in a list."""
    return tuple(_tuple(v) if isinstance(v, (list, tuple)) else v for v in values)
