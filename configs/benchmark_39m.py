"""The 39 M-parameter model that `benchmarks.train_step` times; nothing to train with.

CLIP-like encoder, LLaVA's two-layer connector, Llama-like decoder, all float32: sizes
at which the Hugging Face model of the same shape takes seconds a step on a laptop.
"""

from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """8 rows of 512 tokens, one image each, in one pool group."""
    return config_lib.Config(
        steps=1000,
        model=config_lib.Model(
            vit=config_lib.ViT(
                image_size=112,
                patch_size=14,
                width=256,
                layers=6,
                heads=4,
                mlp_width=1024,
                remat="none",
            ),
            connector=config_lib.Connector(kind="mlp", tokens=64),
            decoder=config_lib.Decoder(
                vocab_size=8192,
                width=512,
                layers=8,
                heads=8,
                kv_heads=8,
                head_size=64,
                mlp_width=1376,
                remat="dots",
            ),
            dtype="float32",
            attention_block=128,
            loss_chunk=512,
        ),
        data=config_lib.Data(
            sources=(config_lib.Source("made_up"),),
            row_tokens=512,
            rows_per_batch=8,
            rows_per_pool=8,
            pool_capacity=8,
            pool_multiple=8,
        ),
        mixture=config_lib.Mixture(weights=(1,)),
        optim=config_lib.Optim(peak_lr=1e-4, warmup_steps=10),
        mesh=config_lib.Mesh(data=1, fsdp=1, tensor=1),
    )
