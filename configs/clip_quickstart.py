"""A small SigLIP on the sample world: an image encoder and a text tower, in minutes.

The encoder is the quickstart's, so that its run can start from this one:
`--config=configs/quickstart.py --config.init_from=RUN --config.init_parts='("vit",)'`.
"""

from configs import quickstart
from mmjax import config as config_lib


def get_config() -> config_lib.Config:
    """The run; `--config.model.objective.contrast.loss=softmax` makes it a CLIP."""
    config = quickstart.get_config()
    config.steps = 400
    config.model.connector = config_lib.Connector(tokens=1, heads=4)
    config.model.decoder.width = 128
    config.model.decoder.layers = 2
    config.model.decoder.heads = config.model.decoder.kv_heads = 4
    config.model.decoder.mlp_width = 384
    config.model.objective = config_lib.Objective(
        kind="contrastive",
        contrast=config_lib.Contrast(width=128, block=256),
    )
    config.data.row_tokens = 128
    config.data.rows_per_batch = config.data.rows_per_pool = 16
    config.data.sources = (config_lib.Source("captions"),)
    config.mixture.weights = (1,)
    config.evaluation = config_lib.Evaluation(every=200, rows=32, samples=0, probe=1500)
    return config
