"""The base of MM1's ablations: ViT-L/14 at 336 px, 144 image tokens, a 1.2 B decoder.

Section 3 of arXiv 2403.09611 changes one thing at a time of this model, and the recipe
of MM1-3B (`configs/mm1_3b.py`) is otherwise kept.
"""

from configs import decoders, mm1_3b
from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; `--config.data.root` names the folder of prepared corpora."""
    config = mm1_3b.get_config()
    config.model.vit = config_lib.ViT(
        image_size=336, patch_size=14, width=1024, layers=24, heads=16, mlp_width=4096,
        remat="attention",
    )  # fmt: skip
    config.model.decoder = decoders.mm1_base()
    config.model.decoder.remat = "projections"
    body, _ = config_lib.decoder_parameters(config.model.decoder)
    config.optim.peak_lr = config_lib.mm1_learning_rate(body)
    return config
