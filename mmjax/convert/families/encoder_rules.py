"""The names of image encoders' tensors: a table a family, under a root of names."""

from collections.abc import Sequence

from mmjax import config
from mmjax.config import ViT
from mmjax.convert.rules import (
    AS_IS,
    FLAT,
    LINEAR,
    LINEAR_OUT,
    PATCHES,
    Part,
    Rule,
    dense,
    leading,
    norm,
)


def hugging_face(vit: ViT, root: Sequence[str]) -> list[Rule]:
    """CLIP and SigLIP."""
    layers, at = range(config.encoder_layers(vit)), root[0]
    embeddings, layer = f"{at}embeddings", f"{at}encoder.layers.{{}}"
    rules = _patches(vit, f"{embeddings}.patch_embedding")
    rules += _positions(vit, f"{embeddings}.position_embedding.weight")
    if vit.class_token:
        name = f"{embeddings}.class_embedding"
        rules.append(Rule("vit/class_token", name, UNLED))
    if vit.embedding_norm == "tokens":
        rules += norm(
            "vit/norm_embedding", f"{at}pre_layrnorm", bias=True
        )  # so spelled
    rules += _attention(vit, f"{layer}.self_attn", layers)
    for mine, name in (("up", "fc1"), ("down", "fc2")):
        rules += dense(f"vit/blocks/mlp/{mine}", f"{layer}.mlp.{name}", layers, True)
    rules += norm("vit/blocks/norm_attention", f"{layer}.layer_norm1", layers, True)
    rules += norm("vit/blocks/norm_mlp", f"{layer}.layer_norm2", layers, True)
    return rules + _final(vit, f"{at}post_layernorm", bias=True)


def siglip2(vit: ViT, root: Sequence[str]) -> list[Rule]:
    """As SigLIP, but with patches already cut, in our order of their numbers."""
    return [
        rule._replace(form=LINEAR) if rule.form is PATCHES else rule
        for rule in hugging_face(vit, root)
    ]


def dinov2(vit: ViT, root: Sequence[str]) -> list[Rule]:
    """DINOv2, with and without registers."""
    layers, at = range(config.encoder_layers(vit)), root[0]
    embeddings, layer = f"{at}embeddings", f"{at}encoder.layer.{{}}"
    rules = _patches(vit, f"{embeddings}.patch_embeddings.projection")
    rules += _positions(vit, f"{embeddings}.position_embeddings", lead=1)
    # [1, 1, E] of theirs is [1, E] here.
    rules.append(Rule("vit/class_token", f"{embeddings}.cls_token", leading(1)))
    if vit.registers:
        name = f"{embeddings}.register_tokens"
        rules.append(Rule("vit/registers", name, leading(1)))
    for name in ("query", "key", "value"):
        theirs = f"{layer}.attention.attention.{name}"
        rules += dense(f"vit/blocks/attention/{name}", theirs, layers, True)
    rules += dense(
        "vit/blocks/attention/out", f"{layer}.attention.output.dense", layers, True,
        LINEAR_OUT,
    )  # fmt: skip
    rules += _dinov2_mlp(vit, f"{layer}.mlp", layers)
    for number, name in ((1, "attention"), (2, "mlp")):
        rules += norm(f"vit/blocks/norm_{name}", f"{layer}.norm{number}", layers, True)
        scale = f"{layer}.layer_scale{number}.lambda1"
        rules.append(Rule(f"vit/blocks/scale_{name}/scale", scale, AS_IS, layers))
    return rules + _final(vit, f"{at}layernorm", bias=True)


def _dinov2_mlp(vit: ViT, theirs: str, layers: range) -> list[Rule]:
    if not vit.gated:
        return [
            *dense("vit/blocks/mlp/up", f"{theirs}.fc1", layers, True),
            *dense("vit/blocks/mlp/down", f"{theirs}.fc2", layers, True),
        ]
    rules = dense("vit/blocks/mlp/down", f"{theirs}.weights_out", layers, True)
    for place, name in enumerate(("gate", "up")):
        half = Part(place * vit.mlp_width, 2 * vit.mlp_width)
        rules += [
            rule._replace(part=half)
            for rule in dense(
                f"vit/blocks/mlp/{name}", f"{theirs}.weights_in", layers, True
            )
        ]
    return rules


def aimv2(vit: ViT, root: Sequence[str]) -> list[Rule]:
    """AIMv2."""
    layers, at = range(config.encoder_layers(vit)), root[0]
    embeddings, layer = f"{at}embeddings", f"{at}encoder.layers.{{}}"
    rules = _patches(vit, f"{embeddings}.patch_embed")
    if vit.positions == "learned":
        rules += _positions(vit, f"{embeddings}.position_embedding.weight")
    rules += norm("vit/norm_embedding", f"{embeddings}.rms_norm")
    rules += _attention(vit, f"{layer}.attention", layers)
    for name in ("gate", "up", "down"):
        theirs = f"{layer}.ffn.{name}_proj"
        rules += dense(f"vit/blocks/mlp/{name}", theirs, layers, vit.mlp_bias)
    rules += norm("vit/blocks/norm_attention", f"{layer}.rms_norm1", layers)
    rules += norm("vit/blocks/norm_mlp", f"{layer}.rms_norm2", layers)
    return rules + _final(vit, f"{at}rms_norm", bias=False)


def open_clip(vit: ViT, root: Sequence[str]) -> list[Rule]:
    """The CLIP of open_clip (and of OpenAI): queries, keys and values in one tensor."""
    layers, at = range(config.encoder_layers(vit)), root[0]
    layer = f"{at}transformer.resblocks.{{}}"
    rules = [Rule("vit/patch_embed/kernel", f"{at}conv1.weight", PATCHES)]
    rules += _positions(vit, f"{at}positional_embedding")
    rules.append(Rule("vit/class_token", f"{at}class_embedding", UNLED))
    rules += norm("vit/norm_embedding", f"{at}ln_pre", bias=True)
    for place, name in enumerate(("query", "key", "value")):
        third = Part(place * vit.width, 3 * vit.width)
        ours, theirs = f"vit/blocks/attention/{name}", f"{layer}.attn.in_proj"
        rules += [
            Rule(f"{ours}/kernel", f"{theirs}_weight", LINEAR, layers, third),
            Rule(f"{ours}/bias", f"{theirs}_bias", FLAT, layers, third),
        ]
    out = f"{layer}.attn.out_proj"
    rules += dense("vit/blocks/attention/out", out, layers, True, LINEAR_OUT)
    rules += dense("vit/blocks/mlp/up", f"{layer}.mlp.c_fc", layers, True)
    rules += dense("vit/blocks/mlp/down", f"{layer}.mlp.c_proj", layers, True)
    rules += norm("vit/blocks/norm_attention", f"{layer}.ln_1", layers, True)
    rules += norm("vit/blocks/norm_mlp", f"{layer}.ln_2", layers, True)
    if vit.layer_scale:
        for number, name in ((1, "attention"), (2, "mlp")):
            scale = f"{layer}.ls_{number}.gamma"
            rules.append(Rule(f"vit/blocks/scale_{name}/scale", scale, AS_IS, layers))
    return rules + _final(vit, f"{at}ln_post", bias=True)


def beyond(vit: ViT, layer: str, final: str) -> Sequence[str]:
    """Patterns of layers after the one whose outputs are the features, and their norm.

    `layer` is the beginning of a layer's name, with a place for its number.
    """
    if vit.features == -1:
        return ()
    numbers = "|".join(map(str, range(config.encoder_layers(vit), vit.layers + 1)))
    return (layer.format(f"({numbers})") + r"\..*", final)


# [E] of theirs is [1, E] here.
UNLED = FLAT


def _patches(vit: ViT, theirs: str) -> list[Rule]:
    return dense("vit/patch_embed", theirs, bias=vit.patch_bias, form=PATCHES)


def _positions(vit: ViT, theirs: str, lead: int = 0) -> list[Rule]:
    """One table of theirs: the class token's position, then those of patches."""
    side = vit.position_grid or vit.image_size // vit.patch_size
    total, form = side**2 + vit.class_token, leading(lead) if lead else AS_IS
    rules = [
        Rule(
            "vit/positions", theirs, form, part=Part(int(vit.class_token), total, lead)
        )
    ]
    if vit.class_token:
        rules.append(
            Rule("vit/class_position", theirs, form, part=Part(0, total, lead))
        )
    return rules


def _attention(vit: ViT, theirs: str, layers: range) -> list[Rule]:
    ours, bias = "vit/blocks/attention", vit.attention_bias
    rules = dense(f"{ours}/out", f"{theirs}.out_proj", layers, bias, LINEAR_OUT)
    for mine, name in (("query", "q"), ("key", "k"), ("value", "v")):
        rules += dense(f"{ours}/{mine}", f"{theirs}.{name}_proj", layers, bias)
    return rules


def _final(vit: ViT, theirs: str, bias: bool) -> list[Rule]:
    return norm("vit/norm", theirs, bias=bias) if vit.features == -1 else []
