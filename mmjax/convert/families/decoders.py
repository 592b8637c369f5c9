"""The decoders: Llama, Mistral, Qwen and Gemma. Their tensors have the same names."""

from typing import Any

from mmjax.config import Decoder
from mmjax.convert.families import decoder_rules, decoder_settings
from mmjax.convert.families.family import Family

_FIELDS = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_size": "head_dim",
    "mlp_width": "intermediate_size",
    "norm_eps": "rms_norm_eps",
    "tied_embeddings": "tie_word_embeddings",
    "rope_theta": "rope_theta",
}
_DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 11008,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
}
_GEMMA = {
    "vocab_size": 256_000,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
}
_GEMMA_CONSTANTS = {
    "attention_bias": False,
    "use_bidirectional_attention": False,
}
# Of a Gemma; what a layer is besides differs from one generation to the next.
_GEMMA_FIXED = {
    "norm_unit_offset": True,
    "scale_embeddings": True,
    "activation": "gelu_tanh",
}


def _family(kind: str, architecture: str, **options: Any) -> Family[Decoder]:
    shared: dict[str, Any] = {
        "part": Decoder,
        "fields": _FIELDS,
        "fixed": {},
        "normalize": decoder_settings.normalize,
        "read": decoder_settings.read,
        "write": decoder_settings.write,
        "rules": decoder_rules.table,
        "roots": decoder_rules.ROOTS,
        "ignored": decoder_rules.ignored,
    }
    defaults = {**_DEFAULTS, **options.pop("defaults", {})}
    return Family(kind, architecture, defaults=defaults, **{**shared, **options})


FAMILIES = (
    _family(
        "llama",
        "LlamaForCausalLM",
        constants={
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
        },
    ),
    _family(
        "mistral",
        "MistralForCausalLM",
        defaults={"num_key_value_heads": 8, "sliding_window": 4096},
        constants={"hidden_act": "silu"},
        read=decoder_settings.read_mistral,
        write=decoder_settings.write_mistral,
    ),
    _family(
        "qwen2",
        "Qwen2ForCausalLM",
        defaults={"vocab_size": 151_936},
        constants={"hidden_act": "silu", "use_sliding_window": False},
        fixed={"qkv_bias": True},
    ),
    _family(
        "qwen3",
        "Qwen3ForCausalLM",
        defaults={"vocab_size": 151_936, "head_dim": 128},
        constants={
            "hidden_act": "silu",
            "attention_bias": False,
            "use_sliding_window": False,
        },
        fixed={"qk_norm": True},
    ),
    _family(
        "gemma",
        "GemmaForCausalLM",
        defaults=_GEMMA,
        constants={**_GEMMA_CONSTANTS, "hidden_act": "gelu_pytorch_tanh"},
        fixed=_GEMMA_FIXED,
        normalize=decoder_settings.normalize_gemma,
    ),
    _family(
        "gemma2",
        "Gemma2ForCausalLM",
        defaults={
            **_GEMMA,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 2,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
        constants={**_GEMMA_CONSTANTS, "hidden_activation": "gelu_pytorch_tanh"},
        fixed={**_GEMMA_FIXED, "post_norms": True},
        normalize=decoder_settings.normalize_gemma,
        read=decoder_settings.read_gemma,
        write=decoder_settings.write_gemma,
    ),
    _family(
        "gemma3_text",
        "Gemma3ForCausalLM",
        defaults={
            **_GEMMA,
            "vocab_size": 262_208,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
            "sliding_window_pattern": 6,
            "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10_000.0,
        },
        constants={
            **_GEMMA_CONSTANTS,
            "hidden_activation": "gelu_pytorch_tanh",
            "rope_local_scaling": None,
        },
        fixed={**_GEMMA_FIXED, "post_norms": True, "qk_norm": True},
        normalize=decoder_settings.normalize_gemma,
        read=decoder_settings.read_gemma3,
        write=decoder_settings.write_gemma3,
    ),
)
