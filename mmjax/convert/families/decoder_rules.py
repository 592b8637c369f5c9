"""The names of a decoder's tensors, which Llama, Mistral, Qwen and Gemma share."""

from collections.abc import Sequence

from mmjax import config
from mmjax.config import Decoder
from mmjax.convert import rules as rules_lib
from mmjax.convert.rules import AS_IS, LINEAR_OUT, Rule

# (their body, their head) in a decoder alone, in LLaVA before and since transformers 5.
ROOTS = (
    ("model.", ""),
    ("language_model.model.", "language_model."),
    ("model.language_model.", ""),
)


def table(decoder: Decoder, root: Sequence[str]) -> list[Rule]:
    """The rules of a decoder under a root of ROOTS."""
    body, head = root
    rules = [
        Rule("decoder/embedding", f"{body}embed_tokens.weight", AS_IS, grows=0),
        *rules_lib.norm("decoder/norm", f"{body}norm"),
    ]
    if not decoder.tied_embeddings:
        linear = rules_lib.LINEAR
        rules.append(Rule("decoder/unembed", f"{head}lm_head.weight", linear, grows=1))
    for stack in config.layer_stacks(decoder):
        ours = f"decoder/{stack.folder}"
        rules += _layer_rules(decoder, ours, f"{body}layers.{{}}", stack.layers)
    return rules


def _layer_rules(decoder: Decoder, ours: str, theirs: str, layers: range) -> list[Rule]:
    dense, norm = rules_lib.dense, rules_lib.norm
    attention, mlp = f"{theirs}.self_attn", f"{theirs}.mlp"
    table = []
    for mine, name in (("query", "q"), ("key", "k"), ("value", "v")):
        path, tensor = f"{ours}/attention/{mine}", f"{attention}.{name}_proj"
        table += dense(path, tensor, layers, bias=decoder.qkv_bias)
    table += dense(
        f"{ours}/attention/out", f"{attention}.o_proj", layers, form=LINEAR_OUT
    )
    if decoder.qk_norm:
        table += norm(f"{ours}/attention/norm_query", f"{attention}.q_norm", layers)
        table += norm(f"{ours}/attention/norm_key", f"{attention}.k_norm", layers)
    for name in ("gate", "up", "down"):
        table += dense(f"{ours}/mlp/{name}", f"{mlp}.{name}_proj", layers)
    table += norm(f"{ours}/norm_attention", f"{theirs}.input_layernorm", layers)
    if not decoder.post_norms:
        after = f"{theirs}.post_attention_layernorm"
        return table + norm(f"{ours}/norm_mlp", after, layers)
    for mine, name in (
        ("norm_attention_out", "post_attention"),
        ("norm_mlp", "pre_feedforward"),
        ("norm_mlp_out", "post_feedforward"),
    ):
        table += norm(f"{ours}/{mine}", f"{theirs}.{name}_layernorm", layers)
    return table


def ignored(decoder: Decoder) -> Sequence[str]:
    """Patterns of names that a checkpoint may hold in vain."""
    buffers = (r".*\.rotary_emb\.inv_freq",)  # which old checkpoints keep
    return (*buffers, r"(.*\.)?lm_head\.weight") if decoder.tied_embeddings else buffers
