"""Language models by name: functions that return a `config.Decoder`.

MM1's (whose dimensions aren't published; these are ours, multiples of 256) and those
whose weights are: Llama, Mistral, Qwen and Gemma, as their reports and released
`config.json` files have them.

    config.model.decoder = decoders.gemma2_2b()
"""

from mmjax.config import Decoder, RopeScaling


def mm1_base() -> Decoder:
    """1.2 B without embeddings: the base of MM1's ablations."""
    return Decoder(width=2048, layers=24, heads=16, kv_heads=16, mlp_width=5632)


def mm1_3b() -> Decoder:
    """2.5 B without embeddings."""
    return Decoder()


def mm1_7b() -> Decoder:
    """6.5 B without embeddings."""
    return Decoder(width=4096, layers=32, heads=32, kv_heads=32, mlp_width=11008)


def mm1_30b() -> Decoder:
    """29.9 B without embeddings."""
    return Decoder(width=7168, layers=48, heads=56, kv_heads=56, mlp_width=19456)


def llama2_7b() -> Decoder:
    """Llama 2 (arXiv 2307.09288)."""
    return Decoder(32_000, 4096, 32, 32, 32, 128, 11_008, norm_eps=1e-5)


def llama2_13b() -> Decoder:
    """Llama 2 (arXiv 2307.09288)."""
    return Decoder(32_000, 5120, 40, 40, 40, 128, 13_824, norm_eps=1e-5)


def llama3_8b() -> Decoder:
    """Llama 3 (arXiv 2407.21783), of rows of 8192 tokens."""
    return Decoder(
        128_256, 4096, 32, 32, 8, 128, 14_336, rope_theta=500_000.0, norm_eps=1e-5
    )


def llama3_1_8b() -> Decoder:
    """Llama 3.1 (arXiv 2407.21783): Llama 3 for rows of 131,072 tokens."""
    decoder = llama3_8b()
    decoder.rope_scaling = RopeScaling("llama3", factor=8.0)
    return decoder


def llama3_2_1b() -> Decoder:
    """Llama 3.2, of one table of embeddings."""
    decoder = Decoder(128_256, 2048, 16, 32, 8, 64, 8192)
    return _llama3_2(decoder)


def llama3_2_3b() -> Decoder:
    """Llama 3.2, of one table of embeddings."""
    decoder = Decoder(128_256, 3072, 28, 24, 8, 128, 8192)
    return _llama3_2(decoder)


def _llama3_2(decoder: Decoder) -> Decoder:
    decoder.rope_theta, decoder.norm_eps = 500_000.0, 1e-5
    decoder.rope_scaling = RopeScaling("llama3", factor=32.0)
    decoder.tied_embeddings = True
    return decoder


def mistral_7b() -> Decoder:
    """Mistral 7B (arXiv 2310.06825), the first version: every layer has a window."""
    return Decoder(32_000, 4096, 32, 32, 8, 128, 14_336, norm_eps=1e-5, window=4096)


def qwen2_0_5b() -> Decoder:
    """Qwen2 and Qwen2.5 (arXiv 2407.10671, 2412.15115)."""
    return _qwen2(Decoder(151_936, 896, 24, 14, 2, 64, 4864, tied_embeddings=True))


def qwen2_1_5b() -> Decoder:
    """Qwen2 and Qwen2.5."""
    return _qwen2(Decoder(151_936, 1536, 28, 12, 2, 128, 8960, tied_embeddings=True))


def qwen2_5_3b() -> Decoder:
    """Qwen2.5; there is no Qwen2 of this size."""
    return _qwen2(Decoder(151_936, 2048, 36, 16, 2, 128, 11_008, tied_embeddings=True))


def qwen2_7b() -> Decoder:
    """Qwen2 and Qwen2.5."""
    return _qwen2(Decoder(152_064, 3584, 28, 28, 4, 128, 18_944))


def _qwen2(decoder: Decoder) -> Decoder:
    decoder.rope_theta, decoder.qkv_bias = 1_000_000.0, True
    return decoder


def qwen3_0_6b() -> Decoder:
    """Qwen3 (arXiv 2505.09388)."""
    return _qwen3(Decoder(151_936, 1024, 28, 16, 8, 128, 3072, tied_embeddings=True))


def qwen3_1_7b() -> Decoder:
    """Qwen3."""
    return _qwen3(Decoder(151_936, 2048, 28, 16, 8, 128, 6144, tied_embeddings=True))


def qwen3_4b() -> Decoder:
    """Qwen3."""
    return _qwen3(Decoder(151_936, 2560, 36, 32, 8, 128, 9728, tied_embeddings=True))


def qwen3_8b() -> Decoder:
    """Qwen3."""
    return _qwen3(Decoder(151_936, 4096, 36, 32, 8, 128, 12_288))


def _qwen3(decoder: Decoder) -> Decoder:
    decoder.rope_theta, decoder.qk_norm = 1_000_000.0, True
    return decoder


def gemma2_2b() -> Decoder:
    """Gemma 2 (arXiv 2408.00118): every 2nd layer sees all, logits are capped."""
    return _gemma2(Decoder(256_000, 2304, 26, 8, 4, 256, 9216))


def gemma2_9b() -> Decoder:
    """Gemma 2."""
    return _gemma2(Decoder(256_000, 3584, 42, 16, 8, 256, 14_336))


def _gemma2(decoder: Decoder) -> Decoder:
    decoder.window, decoder.global_every = 4096, 2
    decoder.attention_softcap, decoder.logit_softcap = 50.0, 30.0
    return _gemma(decoder)


def gemma3_1b() -> Decoder:
    """Gemma 3 (arXiv 2503.19786): every 6th layer sees all."""
    return _gemma3(Decoder(262_144, 1152, 26, 4, 1, 256, 6912), window=512)


def gemma3_4b() -> Decoder:
    """Gemma 3, the language model of the multimodal one."""
    decoder = _gemma3(Decoder(262_208, 2560, 34, 8, 4, 256, 10_240), window=1024)
    decoder.rope_scaling = RopeScaling("linear", factor=8.0)
    return decoder


def _gemma3(decoder: Decoder, window: int) -> Decoder:
    decoder.window, decoder.global_every = window, 6
    decoder.rope_theta, decoder.local_rope_theta = 1_000_000.0, 10_000.0
    decoder.qk_norm = True
    return _gemma(decoder)


def _gemma(decoder: Decoder) -> Decoder:
    decoder.activation, decoder.post_norms = "gelu_tanh", True
    decoder.norm_unit_offset = decoder.scale_embeddings = True
    decoder.tied_embeddings = True
    return decoder
