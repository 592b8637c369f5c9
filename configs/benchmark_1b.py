"""The 1.1 B-parameter model that `benchmarks.gpu` times; nothing to train with.

ViT-L/14 at 336 px, 144 tokens an image by MM1's average pooling, a decoder of 0.78 B
with its embeddings, in bfloat16: sizes that one GPU of 80 GB trains.
"""

from mmjax import config as config_lib

TINY = "tiny"  # the same program in seconds on a CPU: configs/benchmark_1b.py:tiny


def get_config(size: str = "") -> config_lib.Config:
    """4 rows of 2048 tokens, 8 images each, in one pool group."""
    if size not in ("", TINY):
        raise ValueError(f"benchmark_1b.py:{size}: must be benchmark_1b.py:{TINY}")
    config = config_lib.Config(
        steps=1000,
        model=config_lib.Model(
            vit=config_lib.ViT(
                image_size=336,
                patch_size=14,
                width=1024,
                layers=24,
                heads=16,
                mlp_width=4096,
                remat="none",
            ),
            connector=config_lib.Connector(kind="average_pool", tokens=144),
            decoder=config_lib.Decoder(
                vocab_size=32_000,
                width=1536,
                layers=24,
                heads=12,
                kv_heads=12,
                head_size=128,
                mlp_width=4096,
                remat="dots",
            ),
        ),
        data=config_lib.Data(
            sources=(config_lib.Source("made_up"),),
            row_tokens=2048,
            rows_per_batch=4,
            rows_per_pool=4,
            pool_capacity=32,
        ),
        mixture=config_lib.Mixture(weights=(1,)),
        optim=config_lib.Optim(peak_lr=1e-4, warmup_steps=10),
        mesh=config_lib.Mesh(data=1, fsdp=1, tensor=1),
    )
    if size == TINY:
        vit, decoder, data = config.model.vit, config.model.decoder, config.data
        vit.image_size, vit.width, vit.layers, vit.heads = 56, 32, 2, 2
        vit.mlp_width, config.model.connector.tokens = 64, 4
        decoder.vocab_size, decoder.width, decoder.layers = 256, 64, 2
        decoder.heads = decoder.kv_heads = 2
        decoder.head_size, decoder.mlp_width = 32, 128
        data.row_tokens, data.rows_per_batch, data.rows_per_pool = 64, 2, 2
        data.pool_capacity = data.pool_multiple = 4
    return config
