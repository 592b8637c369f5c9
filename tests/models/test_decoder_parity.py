"""Our decoder against transformers': logits, loss and every gradient, in float32.

Both get the same random weights; two documents lie packed in one row of ours, and pass
theirs one at a time.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmjax import config, optim
from mmjax.config import RopeScaling
from mmjax.models import decoder as decoder_lib
from mmjax.ops import cross_entropy, rope

pytestmark = pytest.mark.extra
VOCAB, LENGTHS = 48, (19, 12)


class Family(NamedTuple):
    """A tiny model, as transformers' config (beside what all share) and as ours."""

    theirs: dict
    ours: dict
    layers: int = 2


ROPE = {"rope_type": "default", "rope_theta": 500.0}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {
    "rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0,
    "original_max_position_embeddings": 16, "beta_fast": 3.0, "beta_slow": 0.5,
}  # fmt: skip
THETA = {"rope_theta": 500.0}
GEMMA = {
    "activation": "gelu_tanh", "post_norms": True, "norm_unit_offset": True,
    "scale_embeddings": True, "tied_embeddings": True, **THETA,
}  # fmt: skip
GEMMA_HF = {"query_pre_attn_scalar": 10, "sliding_window": 5}
FAMILIES = {
    "Llama": Family(
        {"rope_parameters": LLAMA3, "rms_norm_eps": 1e-5},
        {"rope_scaling": RopeScaling("llama3", 4.0, 16), "norm_eps": 1e-5, **THETA},
    ),
    "Mistral": Family(
        {"rope_parameters": ROPE, "sliding_window": 6}, {"window": 6, **THETA}
    ),
    "Qwen2": Family(
        {"rope_parameters": YARN, "tie_word_embeddings": True},
        {
            "rope_scaling": RopeScaling("yarn", 4.0, 16, 0.5, 3.0),
            "qkv_bias": True, "tied_embeddings": True, **THETA,
        },
    ),
    "Qwen3": Family({"rope_parameters": ROPE}, {"qk_norm": True, **THETA}),
    "Gemma2": Family(
        {
            "rope_parameters": ROPE, "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0, **GEMMA_HF,
        },
        {
            "window": 5, "global_every": 2, "query_scale": 10**-0.5,
            "attention_softcap": 2.0, "logit_softcap": 3.0, **GEMMA,
        },
    ),
    "Gemma3": Family(
        {
            "rope_parameters": {
                "full_attention": {
                    "rope_type": "linear", "factor": 8.0, "rope_theta": 500.0
                },
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
            **GEMMA_HF,
        },
        {
            "window": 5, "global_every": 6, "query_scale": 10**-0.5, "qk_norm": True,
            "local_rope_theta": 50.0, "rope_scaling": RopeScaling("linear", 8.0),
            **GEMMA,
        },
        layers=8,  # a group of 6 and 2 that are left, as in Gemma 3 1B
    ),
}  # fmt: skip


def their_model(name: str):
    """A transformers model with weights in which nothing is zero or one by chance."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    family = FAMILIES[name]
    kind = getattr(transformers, f"{name}{'Text' * (name == 'Gemma3')}Config")
    made = kind(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=40, head_dim=8,
        num_hidden_layers=family.layers, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, attn_implementation="eager",
        **{"tie_word_embeddings": name.startswith("Gemma"), **family.theirs},
    )  # fmt: skip
    model = getattr(transformers, f"{name}ForCausalLM")(made).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for path, values in model.named_parameters():
            values.normal_(std=0.25)
            if "norm" in path and not name.startswith("Gemma"):
                values.add_(1.0)
    return model


def our_config(name: str) -> config.Model:
    family = FAMILIES[name]
    return config.Model(
        decoder=config.Decoder(
            VOCAB, 32, family.layers, 4, 2, 8, 40, remat="none", **family.ours
        ),
        dtype="float32",
        attention_block=8,
    )


TENSORS = {
    "self_attn.q_proj": "attention/query",
    "self_attn.k_proj": "attention/key",
    "self_attn.v_proj": "attention/value",
    "self_attn.o_proj": "attention/out",
    "self_attn.q_norm": "attention/norm_query",
    "self_attn.k_norm": "attention/norm_key",
    "mlp.gate_proj": "mlp/gate",
    "mlp.up_proj": "mlp/up",
    "mlp.down_proj": "mlp/down",
    "input_layernorm": "norm_attention",
    "post_attention_layernorm": "norm_mlp",
}
WITH_POST_NORMS = {
    **TENSORS,
    "post_attention_layernorm": "norm_attention_out",
    "pre_feedforward_layernorm": "norm_mlp",
    "post_feedforward_layernorm": "norm_mlp_out",
}


def as_ours(decoder: config.Decoder, theirs: dict, shapes: dict) -> dict:
    """Their tensors (weights or gradients) in our tree of `shapes`, by path."""
    found = {
        "embedding": theirs["model.embed_tokens.weight"],
        "norm/scale": theirs["model.norm.weight"],
    }
    if not decoder.tied_embeddings:
        found["unembed"] = theirs["lm_head.weight"].T
    names = WITH_POST_NORMS if decoder.post_norms else TENSORS
    for stack in config.layer_stacks(decoder):
        for name, path in names.items():
            for kind in ("weight", "bias"):
                if f"model.layers.0.{name}.{kind}" not in theirs:
                    continue
                last = "bias" if kind == "bias" else "kernel"
                last = "scale" if "norm" in path else last
                tensors = [
                    theirs[f"model.layers.{i}.{name}.{kind}"] for i in stack.layers
                ]
                found[f"{stack.folder}/{path}/{last}"] = np.stack(
                    [x.T for x in tensors]
                )
    assert found.keys() == shapes.keys()
    return {path: x.reshape(shapes[path].shape) for path, x in found.items()}


def both(name: str):
    """(logits of both, losses of both, gradients of both by our path)."""
    torch = pytest.importorskip("torch")
    theirs, model = their_model(name), our_config(name)
    rng = np.random.default_rng(0)
    # Theirs gives token 0, Gemma's padding, no gradient as an input.
    documents = [rng.integers(1, VOCAB, n + 1) for n in LENGTHS]
    inputs = [torch.tensor(document[None, :-1]) for document in documents]
    outputs = [theirs(x, use_cache=False).logits[0] for x in inputs]
    targets = torch.cat([torch.tensor(document[1:]) for document in documents])
    loss = torch.nn.functional.cross_entropy(torch.cat(outputs), targets)
    loss.backward()

    tokens, segments, positions = (
        jnp.asarray(np.concatenate(parts)[None, None])
        for parts in (
            [document[:-1] for document in documents],
            [np.full(n, i + 1) for i, n in enumerate(LENGTHS)],
            [np.arange(n) for n in LENGTHS],
        )
    )
    module = decoder_lib.Decoder(model)

    def run(params):
        embedded = module.apply({"params": params}, tokens, method="embed")
        hidden = module.apply({"params": params}, embedded, segments, positions)
        table = module.apply({"params": params}, method="unembed_table")
        cap = model.decoder.logit_softcap
        losses = cross_entropy.chunked(
            hidden, table, jnp.asarray(targets)[None, None], sum(LENGTHS), cap
        )
        logits = hidden @ table
        return losses.nll_ZRT.mean(), cap * jnp.tanh(logits / cap) if cap else logits

    def init(key):
        empty = jnp.zeros((1, 1, 2, 32)), jnp.ones((1, 1, 2), int)
        return module.init(key, *empty, jnp.ones((1, 1, 2), int))["params"]

    shapes = optim.flatten(jax.eval_shape(init, jax.random.key(0)))
    convert = functools.partial(as_ours, model.decoder, shapes=shapes)
    weights = {p: x.detach().numpy() for p, x in theirs.named_parameters()}
    slopes = {p: x.grad.numpy() for p, x in theirs.named_parameters()}
    params = optim.unflatten(convert(weights))
    (ours, logits), gradients = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    return (
        (logits[0, 0], torch.cat(outputs).detach().numpy()),
        (float(ours), loss.item()),
        (optim.flatten(gradients), convert(slopes)),
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_loss_and_gradients_are_those_of_transformers(name):
    logits, losses, (found, expected) = both(name)
    scale = np.abs(logits[1]).max()
    np.testing.assert_allclose(logits[0], logits[1], rtol=0, atol=1e-4 * scale)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for path, gradient in expected.items():
        scale = np.abs(gradient).max()
        assert scale > 0, path
        np.testing.assert_allclose(
            found[path], gradient, rtol=0, atol=1e-3 * scale, err_msg=path
        )


@pytest.mark.parametrize(
    ("said", "scaling"),
    [
        (LLAMA3, rope.Scaling("llama3", 4.0, 16, 1.0, 4.0)),
        (YARN, rope.Scaling("yarn", 4.0, 16, 0.5, 3.0)),
        (
            YARN | {"beta_fast": 1.02, "beta_slow": 1.0},
            rope.Scaling("yarn", 4.0, 16, 1.0, 1.02),
        ),
        (
            LLAMA3 | {"rope_theta": 5e5, "original_max_position_embeddings": 8192},
            rope.Scaling("llama3", 4.0, 8192, 1.0, 4.0),
        ),
    ],
)
def test_scaled_rotations_are_those_of_transformers(said, scaling):
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    made = transformers.LlamaConfig(
        head_dim=64, max_position_embeddings=64, rope_parameters=said
    )
    speeds, gain = ROPE_INIT_FUNCTIONS[said["rope_type"]](made, "cpu")
    positions = np.array([0, 1, 5, 40])
    turn = rope.rotation(jnp.asarray(positions), 64, said["rope_theta"], scaling)
    angles = positions[:, None] * speeds.numpy()
    np.testing.assert_allclose(turn.cos, gain * np.cos(angles), atol=2e-5)
    np.testing.assert_allclose(turn.sin, gain * np.sin(angles), atol=2e-5)
