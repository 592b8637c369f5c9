"""A small MM1 on your own corpora, prepared by `python -m data_pipelines.prepare`.

    python -m mmjax.train --config=configs/own_data.py --config.data.root=ROOT

A corpus that you don't have gets the weight 0: `--config.mixture.weights=1,0,1`.
"""

from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run: a 13 M-parameter model that trains on a CPU; enlarge it at will."""
    return config_lib.Config(
        steps=200,
        model=config_lib.Model(
            vit=config_lib.ViT(
                image_size=112,
                patch_size=14,
                width=192,
                layers=6,
                heads=6,
                mlp_width=768,
                activation="gelu",
                remat="none",
            ),
            connector=config_lib.Connector(
                kind="perceiver", tokens=16, heads=4, remat="none"
            ),
            decoder=config_lib.Decoder(
                vocab_size=8192,
                width=256,
                layers=6,
                heads=8,
                kv_heads=4,
                head_size=32,
                mlp_width=768,
                tied_embeddings=True,
                remat="none",
            ),
            dtype="float32",
            attention_block=128,
            loss_chunk=128,
        ),
        data=config_lib.Data(
            root="data/own",
            row_tokens=512,
            rows_per_batch=16,
            rows_per_pool=16,
            pool_multiple=4,
            threads=2,
        ),
        mixture=config_lib.Mixture(weights=(45, 45, 10)),
        optim=config_lib.Optim(peak_lr=1e-3, warmup_steps=20),
        mesh=config_lib.Mesh(data=1, fsdp=-1),
        checkpoint=config_lib.Checkpoint(every=100, keep_last=2),
        log=config_lib.Log(every=10),
        evaluation=config_lib.Evaluation(every=50, rows=32),
    )
