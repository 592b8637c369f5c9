"""A small MM1 on data it makes itself: minutes on a laptop's CPU, nothing downloaded.

A 3 M-parameter model (ViT, attention pooling, decoder) learns from a world of coloured
shapes to caption scenes and to answer questions about scenes it has never seen.
"""

from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; every field can be overridden, such as `--config.steps=100`."""
    return config_lib.Config(
        steps=800,
        model=config_lib.Model(
            vit=config_lib.ViT(
                image_size=64,
                patch_size=16,
                width=128,
                layers=4,
                heads=4,
                mlp_width=512,
                activation="gelu",
                remat="none",
            ),
            connector=config_lib.Connector(
                kind="perceiver",
                tokens=8,
                heads=4,
                remat="none",
                c_abstractor=config_lib.CAbstractor(width=128, depth=2),
                qformer=config_lib.QFormer(width=128, layers=2, heads=4, mlp_width=512),
            ),
            decoder=config_lib.Decoder(
                vocab_size=512,
                width=192,
                layers=4,
                heads=6,
                kv_heads=6,
                head_size=32,
                mlp_width=512,
                tied_embeddings=True,
                remat="none",
            ),
            dtype="float32",
            attention_block=128,
            loss_chunk=256,
        ),
        data=config_lib.Data(
            root="data/sample_world",
            sample_world=config_lib.SampleWorld(enabled=True),
            row_tokens=256,
            rows_per_batch=8,
            rows_per_pool=8,
            block_batches=128,
            pool_multiple=4,
            threads=2,
        ),
        mixture=config_lib.Mixture(weights=(45, 45, 10)),
        optim=config_lib.Optim(peak_lr=1e-3, b2=0.99, warmup_steps=40),
        mesh=config_lib.Mesh(data=1, fsdp=-1),
        checkpoint=config_lib.Checkpoint(every=200, keep_last=2),
        log=config_lib.Log(every=10),
        evaluation=config_lib.Evaluation(
            every=200,
            rows=32,
            questions="questions/heldout",
            tasks=("questions",),
            examples=24,
        ),
    )
