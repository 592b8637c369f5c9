"""The peer of `benchmarks.train_step`: the same model in PyTorch and transformers."""

from collections.abc import Callable
from typing import Any

from mmjax import config as config_lib
from mmjax.config import Config

try:
    import torch
    import transformers
except ImportError:
    torch = transformers = None


def available() -> bool:
    """Whether the extra `compare` is installed."""
    return torch is not None


def make_step(config: Config, compiled: bool) -> tuple[Callable[[], float], int]:
    """A function that takes one AdamW step and returns the loss; and parameters."""
    assert torch is not None
    torch.manual_seed(0)
    model = _model(config)
    model.train()
    optim = config.optim
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=optim.peak_lr,
        betas=(optim.b1, optim.b2),
        weight_decay=optim.weight_decay,
        fused=True,
    )
    forward: Any = torch.compile(model) if compiled else model
    inputs = _inputs(config)

    def step() -> float:
        loss = forward(**inputs, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step, sum(p.numel() for p in model.parameters())


def _model(config: Config) -> Any:
    """LLaVA from scratch. Its encoder has a class token more than ours."""
    assert transformers is not None
    vit, decoder = config.model.vit, config.model.decoder
    llava = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=vit.width,
            intermediate_size=vit.mlp_width,
            num_hidden_layers=vit.layers,
            num_attention_heads=vit.heads,
            patch_size=vit.patch_size,
            image_size=vit.image_size,
            projection_dim=vit.width,
        ),
        text_config=transformers.LlamaConfig(
            vocab_size=decoder.vocab_size,
            hidden_size=decoder.width,
            intermediate_size=decoder.mlp_width,
            num_hidden_layers=decoder.layers,
            num_attention_heads=decoder.heads,
            num_key_value_heads=decoder.kv_heads,
            max_position_embeddings=config.data.row_tokens,
            tie_word_embeddings=decoder.tied_embeddings,
        ),
        image_token_index=decoder.vocab_size - 1,
        image_seq_length=config_lib.patches(vit),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
    )
    llava._attn_implementation = "sdpa"
    return transformers.LlavaForConditionalGeneration(llava)


def _inputs(config: Config) -> dict[str, Any]:
    """A begin token, an image, words; the loss is on the words."""
    assert torch is not None
    data, vit = config.data, config.model.vit
    shape = (data.rows_per_batch, data.row_tokens)
    image = config.model.decoder.vocab_size - 1
    first_word = 1 + config_lib.patches(vit)
    ids = torch.randint(3, image, shape)
    ids[:, 0], ids[:, 1:first_word] = 1, image
    labels = ids.clone()
    labels[:, :first_word] = -100
    side = vit.image_size
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(data.rows_per_batch, 3, side, side),
    }
