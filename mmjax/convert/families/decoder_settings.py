"""The config.json of decoders, as our fields and back."""

from typing import Any

from mmjax import config
from mmjax.config import Decoder, RopeScaling
from mmjax.convert.families.family import Settings


def normalize(settings: Settings) -> Settings:
    """As transformers 4 said it: rope_theta and rope_scaling beside the rest."""
    said = dict(settings)
    heads = said["num_attention_heads"]
    said["num_key_value_heads"] = said.get("num_key_value_heads") or heads
    said["head_dim"] = said.get("head_dim") or said["hidden_size"] // heads
    rope = dict(said.pop("rope_parameters", None) or said.get("rope_scaling") or {})
    if "full_attention" in rope:  # Gemma 3, since transformers 5
        local = rope.get("sliding_attention") or {}
        said["rope_local_base_freq"] = local.get("rope_theta", 10_000.0)
        said["rope_local_scaling"] = _scaling(local)
        rope = dict(rope["full_attention"])
    said["rope_theta"] = float(rope.pop("rope_theta", said["rope_theta"]))
    if rope.get("rope_type", rope.get("type")) == "yarn":
        longest = said.get("max_position_embeddings")
        rope.setdefault("original_max_position_embeddings", longest)
    said["rope_scaling"] = _scaling(rope)
    return said


def _scaling(rope: Settings) -> Settings | None:
    """rope_scaling without the ways to say that there is none."""
    kept = {k: v for k, v in rope.items() if k not in ("type", "rope_theta")}
    kept["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    return None if kept["rope_type"] == "default" else kept


# Our field: their key, of each way to scale.
_SCALINGS = {
    "linear": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "original_length": "original_max_position_embeddings",
        "slow": "low_freq_factor",
        "fast": "high_freq_factor",
    },
    "yarn": {
        "factor": "factor",
        "original_length": "original_max_position_embeddings",
        "slow": "beta_slow",
        "fast": "beta_fast",
    },
}
_YARN = {"beta_slow": 1.0, "beta_fast": 32.0}


def read(said: Settings) -> dict[str, Any]:
    scaling = said["rope_scaling"]
    if scaling is None:
        return {}
    kind = scaling["rope_type"]
    if kind not in _SCALINGS:
        raise ValueError(
            f"config.json: rope_scaling of type {kind!r}: supported are "
            f"{', '.join(_SCALINGS)}"
        )
    if kind == "yarn":
        said["rope_scaling"] = scaling = {**_YARN, **scaling}
    values: dict[str, Any] = {
        ours: scaling.get(key) for ours, key in _SCALINGS[kind].items()
    }
    if None in values.values():
        raise ValueError(f"config.json: rope_scaling={scaling}: is incomplete")
    return {"rope_scaling": RopeScaling(kind=kind, **values)}


def write(decoder: Decoder) -> Settings:
    scaling = decoder.rope_scaling
    if scaling.kind == "none":
        return {"rope_scaling": None}
    keys = _SCALINGS[scaling.kind]
    values = {key: getattr(scaling, ours) for ours, key in keys.items()}
    return {"rope_scaling": {"rope_type": scaling.kind, **values}}


def read_mistral(said: Settings) -> dict[str, Any]:
    return {**read(said), "window": said["sliding_window"] or 0}


def write_mistral(decoder: Decoder) -> Settings:
    return {**write(decoder), "sliding_window": decoder.window or None}


def normalize_gemma(settings: Settings) -> Settings:
    said = normalize(settings)
    act = said.get("hidden_activation") or said.get("hidden_act")
    # Gemma 1 was published with the exact gelu in its config, and never meant it.
    act = "gelu_pytorch_tanh" if act == "gelu" else act
    said["hidden_act"] = said["hidden_activation"] = act
    both_ways = bool(said.get("use_bidirectional_attention"))
    said["use_bidirectional_attention"] = both_ways
    if said.get("layer_types") is None:
        every = said.get("sliding_window_pattern", 0)
        said["layer_types"] = [
            "full_attention" if (layer + 1) % every == 0 else "sliding_attention"
            for layer in range(said["num_hidden_layers"] if every else 0)
        ]
    return said


def read_gemma(said: Settings) -> dict[str, Any]:
    """Of Gemma 2 and 3: windows, caps, and queries' scale."""
    types = said["layer_types"]
    full = types.index("full_attention") + 1 if "full_attention" in types else 0
    return {
        **read(said),
        "window": said["sliding_window"],
        "global_every": full,
        "query_scale": said["query_pre_attn_scalar"] ** -0.5,
        "attention_softcap": said.get("attn_logit_softcapping") or 0.0,
        "logit_softcap": said.get("final_logit_softcapping") or 0.0,
    }


def write_gemma(decoder: Decoder) -> Settings:
    scale = decoder.query_scale or decoder.head_size**-0.5
    types = ("full_attention", "sliding_attention")
    layers = range(decoder.layers)
    return {
        **write(decoder),
        "sliding_window": decoder.window,
        "layer_types": [types[config.is_local(decoder, layer)] for layer in layers],
        "query_pre_attn_scalar": round(scale**-2),
        "attn_logit_softcapping": decoder.attention_softcap or None,
        "final_logit_softcapping": decoder.logit_softcap or None,
    }


def read_gemma3(said: Settings) -> dict[str, Any]:
    local = float(said["rope_local_base_freq"])
    return {**read_gemma(said), "local_rope_theta": local}


def write_gemma3(decoder: Decoder) -> Settings:
    theta = decoder.local_rope_theta or decoder.rope_theta
    return {**write_gemma(decoder), "rope_local_base_freq": theta}
