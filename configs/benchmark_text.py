"""Steps of text alone at Llama's sizes, to be compared with those of text-only stacks.

    python -m mmjax.estimate --config=configs/benchmark_text.py:llama2_7b \
        --topology=v5p:4x4x4
    python -m mmjax.estimate --config=configs/benchmark_text.py:llama3_1_8b \
        --topology=v6e:2x4

Nothing to train with: an encoder of one layer stands for none.
"""

from configs import decoders
from mmjax import config as config_lib


def get_config(name: str = "llama2_7b") -> config_lib.Config:
    """The step of a decoder of `configs.decoders`: `llama2_7b` or `llama3_1_8b`."""
    made = {"llama2_7b": _llama2_7b, "llama3_1_8b": _llama3_1_8b}
    if name not in made:
        raise ValueError(f"configs/benchmark_text.py:{name}: must be one of {[*made]}")
    config = made[name]()
    config.model.vit = config_lib.ViT(
        image_size=28, width=128, layers=1, heads=1, mlp_width=128
    )
    config.model.connector = config_lib.Connector(kind="mlp", tokens=4)
    config.mixture = config_lib.Mixture(weights=(1,))
    config.data.sources = (config_lib.Source("made_up"),)
    config.data.pool_capacity = config.data.pool_multiple
    return config


def _llama2_7b() -> config_lib.Config:
    """4 rows of 4096 tokens a chip, on 64 of them."""
    decoder = decoders.llama2_7b()
    decoder.remat = "projections"
    return config_lib.Config(
        model=config_lib.Model(decoder=decoder, loss_chunk=2048),
        data=config_lib.Data(row_tokens=4096, rows_per_batch=256, rows_per_pool=16),
        mesh=config_lib.Mesh(data=-1, fsdp=16),
    )


def _llama3_1_8b() -> config_lib.Config:
    """3 rows of 8192 tokens a chip, on 8 of them, one row at a time."""
    decoder = decoders.llama3_1_8b()
    decoder.remat = "attention"
    return config_lib.Config(
        model=config_lib.Model(decoder=decoder, loss_chunk=2048),
        data=config_lib.Data(row_tokens=8192, rows_per_batch=24, rows_per_pool=8),
        mesh=config_lib.Mesh(data=-1, fsdp=8),
        optim=config_lib.Optim(accumulate=3),
    )
