"""The peer of our train step: the same model in PyTorch and transformers."""

import math
from collections.abc import Callable
from typing import Any

from benchmarks import made_up_rows
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


def version() -> str:
    """PyTorch's; "absent" without it."""
    return "absent" if torch is None else torch.__version__


def device() -> str:
    """Where the peer runs: on the GPU where PyTorch knows one."""
    assert torch is not None
    return "cuda" if torch.cuda.is_available() else "cpu"


def memory() -> int:
    """Bytes of the GPU that tensors took at most."""
    assert torch is not None
    return torch.cuda.max_memory_allocated()


def make_step(config: Config, compiled: bool) -> tuple[Callable[[], float], int]:
    """A function that takes one AdamW step and returns the loss; and parameters.

    As ours, parameters are float32 and products of the config's dtype.
    """
    assert torch is not None
    torch.manual_seed(0)
    place, low = torch.device(device()), config.model.dtype == "bfloat16"
    model = _model(config).to(place)
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
    inputs = {name: tensor.to(place) for name, tensor in _inputs(config).items()}
    if place.type == "cuda":  # a mask of ones would keep PyTorch from its flash kernel
        del inputs["attention_mask"]

    autocast = torch.autocast(place.type, torch.bfloat16, enabled=low)

    def step() -> float:
        with autocast:
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
        image_seq_length=config.model.connector.tokens,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
    )
    llava._attn_implementation = "sdpa"
    model = transformers.LlavaForConditionalGeneration(llava)
    if config.model.connector.kind == "average_pool":
        model.model.multi_modal_projector = _pooling(config)
    return model


def _pooling(config: Config) -> Any:
    """MM1's average pooling and linear layer, in place of LLaVA's MLP."""
    assert torch is not None
    nn, model = torch.nn, config.model
    side, small = math.isqrt(config_lib.patches(model.vit)), model.connector.tokens

    class Pooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(math.isqrt(small))
            self.project = nn.Linear(model.vit.width, model.decoder.width)

        def forward(self, x_IPE: Any) -> Any:
            x_IEhw = x_IPE.transpose(1, 2).unflatten(2, (side, side))
            return self.project(self.pool(x_IEhw).flatten(2).transpose(1, 2))

    return Pooling()


def _inputs(config: Config) -> dict[str, Any]:
    """Rows of images and words; the loss is on the words."""
    assert torch is not None
    data, side = config.data, config.model.vit.image_size
    shape = (data.rows_per_batch, data.row_tokens)
    image = config.model.decoder.vocab_size - 1
    inside_T = torch.from_numpy(made_up_rows.image_tokens(config) >= 0)
    ids = torch.randint(3, image, shape)
    ids[:, 0], ids[:, inside_T] = 1, image
    labels = ids.masked_fill(inside_T, -100)
    images = data.rows_per_batch * made_up_rows.images_of_row(config)
    return {
        "input_ids": ids,
        "labels": labels,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(images, 3, side, side),
    }
